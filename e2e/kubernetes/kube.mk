# A real Kubernetes on this machine, from Go modules: see e2e/kubernetes/README.md. KUBE_DIR is where one cluster lives.
KUBE_DIR ?= /tmp/howdah-kube-$(shell id -u)
KUBE_SCRIPTS := e2e/kubernetes
NODES_DIR ?= /tmp/howdah-nodes
NODES ?= 3

.PHONY: kube-build kube-build-nodes kube-build-tools kube-build-reference kube-images kube-up kube-down e2e-kube nodes-up nodes-down nodes-shell
kube-build: ## build a real control plane into the cache (Go; once, 7 minutes)
	@$(KUBE_SCRIPTS)/build.sh control-plane

kube-build-nodes: ## build kubelet, kube-proxy and CoreDNS for real nodes
	@$(KUBE_SCRIPTS)/build.sh nodes

kube-build-tools: ## build helm, promtool and kubectl, which the tests of the chart need
	@$(KUBE_SCRIPTS)/build.sh tools

kube-images: ## build the images of real nodes, without a registry: ours, and the pause container
	@BASE=local images/build.sh $(IMAGES_DIR)
	@$(KUBE_SCRIPTS)/images.sh $(IMAGES_DIR)
kube-build-reference: ## build zalando/postgres-operator v1.15.1, which howdah takes over from and is measured beside
	@$(KUBE_SCRIPTS)/build.sh reference

kube-up: kube-build ## start a real control plane with three simulated nodes
	@$(KUBE_SCRIPTS)/up.sh $(KUBE_DIR)
	@$(KUBE_SCRIPTS)/kwok.sh $(KUBE_DIR)

kube-down: ## stop it and remove its data
	@$(KUBE_SCRIPTS)/down.sh $(KUBE_DIR) remove

e2e-kube: kube-build kube-build-tools $(VENV)/.dev ## our API server against the real one, and the tests that need a control plane
	@$(BIN)/pytest -m kubernetes tests

nodes-up: kube-build kube-build-nodes ## three real nodes with real containers in namespaces of their own (root; NODES=n)
	@$(KUBE_SCRIPTS)/images.sh $(NODES_IMAGES)
	@$(KUBE_SCRIPTS)/nodes.sh up $(NODES_DIR) $(NODES) $(NODES_IMAGES)/*.tar

nodes-shell: ## a shell inside: kubectl, psql and pods' addresses (CMD="kubectl get pods" for one command)
	@$(KUBE_SCRIPTS)/nodes.sh in $(NODES_DIR) $(or $(CMD),bash)

nodes-down: ## end the nodes; nothing is left
	@$(KUBE_SCRIPTS)/nodes.sh down $(NODES_DIR)

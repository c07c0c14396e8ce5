# A real Kubernetes on this machine, from Go modules: see e2e/kubernetes/README.md. KUBE_DIR is where one cluster lives.
KUBE_DIR ?= /tmp/howdah-kube-$(shell id -u)
KUBE_SCRIPTS := e2e/kubernetes
NODES_DIR ?= /tmp/howdah-nodes
NODES ?= 3
NODES_TESTS ?= tests/nodes tests/e2e
PATIENCE ?= 3
ROUNDS ?= 10

.PHONY: kube-build kube-build-nodes kube-build-tools kube-build-reference kube-images kube-up kube-down e2e-kube
kube-build: ## build a real control plane into the cache (Go; once, 7 minutes)
	@$(KUBE_SCRIPTS)/build.sh control-plane

kube-build-nodes: ## build kubelet, kube-proxy and CoreDNS for real nodes
	@$(KUBE_SCRIPTS)/build.sh nodes

kube-build-tools: ## build helm, promtool and kubectl, which the tests of the chart need
	@$(KUBE_SCRIPTS)/build.sh tools

kube-images: ## build the images of real nodes, without a registry: ours, and the pause container
	@BASE=local images/build.sh "$(IMAGES_DIR)"
	@$(KUBE_SCRIPTS)/pause.sh "$(IMAGES_DIR)"

kube-build-reference: ## build zalando/postgres-operator v1.15.1, which howdah takes over from and is measured beside
	@$(KUBE_SCRIPTS)/build.sh reference

kube-up: kube-build ## start a real control plane with three simulated nodes
	@$(KUBE_SCRIPTS)/up.sh "$(KUBE_DIR)"
	@$(KUBE_SCRIPTS)/kwok.sh "$(KUBE_DIR)"

kube-down: ## stop it and remove its data
	@$(KUBE_SCRIPTS)/down.sh "$(KUBE_DIR)" remove

e2e-kube: kube-build kube-build-tools kube-build-reference $(VENV)/.dev ## everything that needs a real Kubernetes: a control plane, and real nodes where they can be had
	@if [ "$$(id -u)" = 0 ]; then \
	  $(MAKE) --no-print-directory nodes-parts && \
	  HOWDAH_WITH_KUBERNETES=1 HOWDAH_WITH_IMAGES=1 $(PYTEST) -q -m kubernetes tests && $(MAKE) --no-print-directory e2e-nodes; \
	else \
	  HOWDAH_WITH_KUBERNETES=1 $(PYTEST) -q -m kubernetes tests && echo "left out: images and real nodes (they need root)"; \
	fi

.PHONY: nodes-parts nodes-up nodes-down nodes-shell e2e-nodes bench-nodes
nodes-parts: kube-build kube-build-nodes kube-build-tools kube-images

nodes-up: nodes-parts ## real nodes with real containers and the operator, in namespaces of their own (root; NODES=3)
	@$(KUBE_SCRIPTS)/nodes.sh up "$(NODES_DIR)" $(NODES) $(IMAGES_DIR)/*.tar
	@$(KUBE_SCRIPTS)/nodes.sh in "$(NODES_DIR)" $(KUBE_SCRIPTS)/operator.sh "$(NODES_DIR)"

nodes-shell: ## a shell among the nodes, with kubectl, pods' and services' addresses (CMD="kubectl get pods" for one command)
	@$(KUBE_SCRIPTS)/nodes.sh in "$(NODES_DIR)" $(or $(CMD),bash)

nodes-down: ## end the nodes and remove all that is of them
	@$(KUBE_SCRIPTS)/nodes.sh down "$(NODES_DIR)"

e2e-nodes: nodes-parts $(VENV)/.dev ## the end-to-end tests and those of lost nodes on three real nodes (root; NODES_TESTS=path for some)
	@HOWDAH_PATIENCE=$(PATIENCE) $(KUBE_SCRIPTS)/on-nodes.sh "$(NODES_DIR)" "$(IMAGES_DIR)" $(PYTEST) -q -m "nodes or e2e" $(NODES_TESTS)

bench-nodes: nodes-parts $(VENV)/.dev ## failover on three real nodes, the table of docs/performance-nodes.md (root; ROUNDS=10)
	@PYTHONPATH=src:tests $(KUBE_SCRIPTS)/on-nodes.sh "$(NODES_DIR)" "$(IMAGES_DIR)" $(BIN)/python -m bench.nodes --rounds $(ROUNDS)

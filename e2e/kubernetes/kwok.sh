#!/bin/bash
# Fake nodes for the control plane in DIR: kwok makes their pods Running and Ready, without containers. usage: kwok.sh [DIR [NODES]]
. "$(dirname "$(realpath "$0")")/lib.sh"
need kwok kubectl
enter "${1:-}"
n=${2:-3}
for ((i = 0; i < n; i++)); do cat <<YAML
---
apiVersion: v1
kind: Node
metadata:
  name: fake-$i
  labels: {kubernetes.io/hostname: fake-$i, kubernetes.io/os: linux, topology.kubernetes.io/zone: zone-$i}
  annotations: {kwok.x-k8s.io/node: fake}
status: {allocatable: {cpu: 1k, memory: 1Ti, pods: 10k}, capacity: {cpu: 1k, memory: 1Ti, pods: 10k}}
YAML
done | k apply -f - >/dev/null
run kwok "$bin/kwok" --config "$bin/kwok.yaml" --kubeconfig kubeconfig --node-lease-duration-seconds 40 --cidr 10.245.0.0/16 \
    --manage-nodes-with-annotation-selector kwok.x-k8s.io/node=fake
k wait --for condition=Ready --timeout 60s $(printf 'node/fake-%s ' $(seq 0 $((n - 1)))) >/dev/null

#!/bin/bash
# A real node: containerd, kubelet and kube-proxy in a network namespace on the bridge "kube". Run inside the lane by nodes.sh.
# usage: node.sh DIR N      node-N, with pods in 10.244.N.0/24, for the control plane of `up.sh DIR 10.243.0.1`
# The lane reaches pods directly and services through node-0. `ip link set kube-N down` cuts the node off.
. "$(dirname "$(realpath "$0")")/lib.sh"
enter "$1"
[ -e own/upper ] || die "to be run inside the lane: nodes.sh up $d"
. ./address
n=$2 name=node-$2 ip=${IP%.*}.$((100 + $2)) socket=$d/node-$2/containerd/socket
mkdir -p "$name"/{cni,kubelet,containerd}
leaf "$name" "/O=system:nodes/CN=system:node:$name" "DNS:$name,IP:$ip"
kubeconfig "$name" "pki/$name.conf"
leaf kube-proxy /CN=system:kube-proxy
kubeconfig kube-proxy pki/kube-proxy.conf

if [ ! -e "/run/netns/$name" ]; then
    ip netns add "$name"
    ip link add "kube-$n" master kube type veth peer name eth0 netns "$name"
    ip -n "$name" address add "$ip/24" dev eth0
    ip -n "$name" link set lo up
    ip -n "$name" link set eth0 up
    ip link set "kube-$n" up
    ip -n "$name" route add default via "$IP"
fi
inside() { run "$1-$name" nsenter "--net=/run/netns/$name" "${@:2}"; }
sysctl -qw net.ipv4.ip_forward=1
nsenter "--net=/run/netns/$name" sysctl -qw net.ipv4.ip_forward=1
ip route replace "10.244.$n.0/24" via "$ip"
[ "$n" != 0 ] || ip route replace 10.96.0.0/16 via "$ip"
cgroup=$(cgroup_of_lane)/$name
# All containers together would count as one process of a busy machine: by their weight they count as sixteen.
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    mkdir -p "/sys/fs/cgroup/$cgroup"
    echo 1600 >"/sys/fs/cgroup/${cgroup%/*}/cpu.weight" || true
else
    for c in /sys/fs/cgroup/*/; do mkdir -p "$c$cgroup"; done
    echo 16384 >"/sys/fs/cgroup/cpu/${cgroup%/*}/cpu.shares"
fi

cat >"$name/cni/pods.conflist" <<JSON
{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "ptp", "ipam": {"type": "host-local", "dataDir": "$d/$name/addresses",
   "ranges": [[{"subnet": "10.244.$n.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
JSON
cat >"$name/containerd/config.toml" <<TOML
version = 2
root = "$d/$name/containerd/root"
state = "$d/$name/containerd/state"
[grpc]
address = "$socket"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "localhost/pause:1"
restrict_oom_score_adj = true  # where root has no CAP_SYS_RESOURCE
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "$d/$name/cni"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
TOML
cat >"$name/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://$socket
address: $ip
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $d/pki/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $d/pki/$name.crt
tlsPrivateKeyFile: $d/pki/$name.key
podLogsDir: $d/log/$name
cgroupRoot: /$cgroup
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
imageGCHighThresholdPercent: 100  # a removed image could not be pulled again
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}
clusterDomain: cluster.local
clusterDNS: [10.96.0.10]
YAML

inside containerd "$(command -v containerd)" --config "$name/containerd/config.toml"
await 20 containerd ctr -a "$socket" version
inside kubelet "$bin/kubelet" --kubeconfig "pki/$name.conf" --config "$name/kubelet.yaml" --root-dir "$d/$name/kubelet" \
    --hostname-override "$name" --node-ip "$ip" --node-labels "topology.kubernetes.io/zone=zone-$n"
inside kube-proxy "$bin/kube-proxy" --kubeconfig pki/kube-proxy.conf --hostname-override "$name" --proxy-mode nftables \
    --cluster-cidr 10.244.0.0/16 --conntrack-max-per-core 0

if [ -x "$bin/coredns" ] && [ ! -s run/coredns ]; then  # on the bridge, behind the service address that pods have as name server
    printf 'cluster.local {\n bind %s\n errors\n kubernetes {\n  kubeconfig %s\n }\n}\n' "$IP" "$KUBECONFIG" >Corefile
    run coredns "$bin/coredns" -conf Corefile
    k apply -f - >/dev/null <<YAML
apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system}
spec: {clusterIP: 10.96.0.10, ports: [{name: udp, port: 53, protocol: UDP}, {name: tcp, port: 53, protocol: TCP}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: kube-dns, namespace: kube-system, labels: {kubernetes.io/service-name: kube-dns}}
addressType: IPv4
ports: [{name: udp, port: 53, protocol: UDP}, {name: tcp, port: 53, protocol: TCP}]
endpoints: [{addresses: [$IP]}]
YAML
fi
k wait --for create "node/$name" --timeout 60s >/dev/null
k uncordon "$name" >/dev/null
k wait --for condition=Ready "node/$name" --timeout 60s

#!/bin/bash
# Stops what up.sh, kwok.sh and node.sh started from DIR, by pid. usage: down.sh [DIR [remove]]
# The data stay, and up.sh DIR goes on with them, unless they are to be removed.
. "$(dirname "$(realpath "$0")")/lib.sh"
[ -d "${1:-$default_dir}/run" ] || exit 0
enter "${1:-}"
stop() {  # NAME...
    for n in "$@"; do
        [ -s "run/$n" ] || continue
        p=$(<"run/$n")
        ! alive "$n" || kill "$p"
        for ((i = 0; i < 100; i++)); do alive "$n" || break; sleep 0.1; done
        ! alive "$n" || kill -9 "$p"
        rm "run/$n"
    done
}
for node in node-*/; do  # its kubelet removes the pods' containers, networks and mounts
    node=${node%/}
    [ -s "run/kubelet-$node" ] || continue
    { k cordon "$node" && k delete pod -A --field-selector "spec.nodeName=$node" --grace-period 1 --timeout 60s; } >/dev/null || true
    stop "kubelet-$node" "kube-proxy-$node"
    containers() { ctr -a "$node/containerd/socket" -n k8s.io tasks "$@"; }
    for c in $(containers list -q); do containers delete --force "$c" 2>/dev/null || true; done  # any left, where the API server is dead
    stop "containerd-$node"
    awk -v at="$d/$node/" 'index($2, at) == 1 {print $2}' /proc/mounts | sort -r | xargs -r umount
    find /sys/fs/cgroup/*/"$node" /sys/fs/cgroup/"$node" -depth -type d -exec rmdir {} + 2>/dev/null || true
    ip netns delete "$node"
done
stop coredns kwok kube-scheduler kube-controller-manager kube-apiserver etcd
if grep -s ^IP= address | grep -qv =127; then ip link delete kube; fi
if [ "${2:-}" = remove ]; then  # by name: DIR may be more than ours
    rm -rf address Corefile etcd kubeconfig log node-* pki run
    rmdir "$d" 2>/dev/null || true
fi

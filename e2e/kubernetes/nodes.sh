#!/bin/bash
# Real nodes on this machine, all of them inside one set of namespaces (network, mounts, pids): what runs there touches
# nothing outside but DIR and its cgroups, and ends with them.
# usage: nodes.sh up DIR [NODES [IMAGE.tar...]]    control plane, NODES (3) nodes with these images, cluster DNS
#        nodes.sh in DIR COMMAND...                a command inside: kubectl, psql and pytest reach pods and services there
#        nodes.sh down DIR                         ends everything and removes what it made in DIR; proves that nothing is left
. "$(dirname "$(realpath "$0")")/lib.sh"
# 101 is the user of our database containers (images/instance)
packages=(containerd:containerd runc:runc nft:nftables iptables:iptables ip:iproute2 nsenter:util-linux openssl:openssl curl:curl)

need_packages() {  # installed by apt where that is possible, and said so
    local missing=() pair
    for pair in "${packages[@]}"; do command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}"); done
    [ -x /usr/lib/cni/ptp ] || missing+=(containernetworking-plugins)
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || die "real nodes need ${missing[*]}: install these packages"
    echo "installing Debian packages that real nodes need: ${missing[*]}" >&2
    { apt-get update -q && apt-get install -q -y --no-install-recommends "${missing[@]}"; } >&2 ||
        die "not installed: apt-get install ${missing[*]}"
}

inside() {  # COMMAND... in the namespaces of DIR
    local holder; holder=$(<run/lane)
    nsenter --net --mount --target "$holder" --pid="/proc/$holder/ns/pid_for_children" -- \
        bash -c 'cd "$1" && shift && exec "$@"' enter "$@"
}

up() {  # NODES IMAGE...
    need_packages
    need etcd kube-apiserver kube-controller-manager kube-scheduler kubectl kubelet kube-proxy coredns
    if ! alive lane; then
        rm -f run/*
        run lane unshare --net --mount --pid --fork --kill-child --propagation private "$here/lane.sh" "$d"
        await 10 "the lane's namespaces" test -e run/ready
    fi
    AUDIT="[{level: Metadata, userGroups: ['system:serviceaccounts:default']}]" VOLUME_OWNER=101 inside "$d" "$here/up.sh" "$d" 10.243.0.1 >/dev/null
    local n
    NODES=$1 inside "$d" "$here/store.sh" "$d" "${@:2}"
    for ((n = 0; n < $1; n++)); do inside "$d" "$here/node.sh" "$d" "$n"; done
    echo "inside: $0 in $d kubectl get nodes"
}

down() {
    local holder namespace; holder=$(<run/lane) cgroup=$(cgroup_of_lane)
    namespace=$(readlink "/proc/$holder/ns/pid_for_children" || true)
    ! alive lane || kill -9 "$holder"  # everybody inside ends with it, and the mounts and networks with them
    for ((i = 0; i < 300; i++)); do remove_cgroups; [ -n "$(left "$namespace")" ] || break; sleep 0.1; done
    [ -z "$(left "$namespace")" ] || die "left behind: $(left "$namespace")"
    # by name: DIR may be more than ours
    rm -rf Corefile address audit.yaml etcd kubeconfig log majors node-[0-9]* own pki run store volumes
    cd / && rmdir "$d" 2>/dev/null || echo "not the lane's, and left: $(find "$d" -mindepth 1 -maxdepth 1 | sort | paste -sd' ')" >&2
    # a mount point of another lane would vanish with the folder
    grep -qs ' /tmp/hostpath_pv ' /proc/[0-9]*/mounts || rmdir /tmp/hostpath_pv 2>/dev/null || true
}
cgroups() { find /sys/fs/cgroup -maxdepth 2 -type d -name "$cgroup"; }
remove_cgroups() { cgroups | while read -r c; do find "$c" -depth -type d -exec rmdir {} + 2>/dev/null || true; done; }
left() {  # NAMESPACE: what is there of a lane that has ended
    cgroups
    [ -z "$1" ] || find /proc -maxdepth 3 -path '/proc/[0-9]*/ns/pid' -lname "$1" 2>/dev/null || true
    grep -s " $d/" /proc/mounts || true
}

need_root "real nodes need"
verb=${1:-} dir=${2:-}
[ -n "$verb" ] && [ -n "$dir" ] || die "usage: nodes.sh up|in|down DIR ..."
[ "$verb" = up ] || [ -d "$dir/run" ] || die "no nodes were started from $dir"
[ "$verb" != down ] || [ -s "$dir/run/lane" ] || die "no nodes were started from $dir (there is no run/lane); nothing is removed"
caller=$PWD
if [ "$verb" != in ]; then  # one at a time: what the one begins the other must not end
    mkdir -p "$cache/nodes" && exec 8>"$cache/nodes/lock-$(realpath -m "$dir" | cksum | cut -d' ' -f1)"
    flock 8
fi
enter "$dir"
export PATH=$bin:$PATH
case $verb in
up) up "${3:-3}" "${@:4}" ;;
in) alive lane || die "the nodes of $d do not run"; inside "$caller" "${@:3}" ;;
down) down ;;
*) die "usage: nodes.sh up|in|down DIR ..." ;;
esac

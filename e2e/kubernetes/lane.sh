#!/bin/bash
# The first process of the lane's namespaces: makes them a place of their own, then only reaps. Started by nodes.sh.
. "$(dirname "$(realpath "$0")")/lib.sh"
enter "$1"
mount -t proc proc /proc
ip link set lo up

# What kubelet, containerd and the CNI plugins write at fixed places stays in here.
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p own && mount -t tmpfs -o mode=755 tmpfs own && mkdir own/{upper,work}
mount -t overlay -o "lowerdir=/var,upperdir=$d/own/upper,workdir=$d/own/work" overlay /var
mkdir -p volumes /tmp/hostpath_pv && mount --bind volumes /tmp/hostpath_pv  # a path fixed in Kubernetes

# The kubelet wants to set these for the whole machine: it finds them set.
for setting in vm/overcommit_memory=1 kernel/panic=10 kernel/panic_on_oops=1; do
    echo "${setting#*=}" >"own/${setting//\//.}"
    mount --bind "own/${setting//\//.}" "/proc/sys/${setting%=*}"
done
touch run/ready
trap '' TERM INT HUP
while :; do sleep 3600 & wait $! || true; done

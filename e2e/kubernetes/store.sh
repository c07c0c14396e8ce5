#!/bin/bash
# Unpacks images once for all nodes: containerd's root folder, kept in the cache, is linked into each node's own.
# usage: store.sh DIR IMAGE.tar...      inside the lane; NODES says how many nodes
. "$(dirname "$(realpath "$0")")/lib.sh"
enter "$1"
[ $# -gt 1 ] || exit 0
store=$cache/nodes/store
mkdir -p "$store" && exec 9>"$store/lock" && flock 9
of=$(stat -c '%n %s %y' "${@:2}" | cksum)
if [ "$(cat "$store/of" 2>/dev/null)" != "$of" ]; then
    rm -rf "$store"/{root,of}
    mkdir -p store
    printf 'version = 2\nroot = "%s/root"\nstate = "%s/store/state"\n[grpc]\naddress = "%s/store/socket"\n' "$store" "$d" "$d" >store/config.toml
    run store "$(command -v containerd)" --config store/config.toml
    await 20 "containerd for the images" ctr -a store/socket version
    for image in "${@:2}"; do echo "unpacking ${image##*/} ..." && ctr -a store/socket -n k8s.io images import "$image" >/dev/null; done
    kill "$(<run/store)"
    for ((i = 0; i < 100; i++)); do alive store || break; sleep 0.1; done
    echo "$of" >"$store/of"
fi
for n in $(seq 0 $((NODES - 1))); do
    root=node-$n/containerd/root
    [ ! -d "$root" ] || continue
    mkdir -p "node-$n/containerd"
    cp -al "$store/root" "$root" 2>/dev/null || { rm -rf "$root" && cp -a --reflink=auto "$store/root" "$root"; }
    find "$root" -name '*.db' -exec cp -p --remove-destination {} {}.own \; -exec mv {}.own {} \;  # written to: never shared
done

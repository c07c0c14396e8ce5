#!/bin/bash
# Unpacks images once for all nodes: containerd's root folder, kept in the cache, is linked into each node's own.
# What containerd wrote there it never changes, so that nodes may go on while the folder gets newer images.
# usage: store.sh DIR IMAGE.tar...      inside the lane; NODES says how many nodes
. "$(dirname "$(realpath "$0")")/lib.sh"
enter "$1"
[ $# -gt 1 ] || exit 0
store=$cache/nodes/store
mkdir -p "$store" && exec 9>"$store/lock" && flock 9
[ -e "$store/whole" ] || rm -rf "$store"/{root,of*}  # nothing is built on what was given up half-way
changed=()  # what was not unpacked as it is now; layers that are there already cost a reading
for image in "${@:2}"; do [ "$(cat "$store/of-${image##*/}" 2>/dev/null)" = "$(stat -c '%n %s %y' "$image")" ] || changed+=("$image"); done
if [ ${#changed[@]} -gt 0 ]; then
    rm -f "$store/whole"
    mkdir -p store
    printf 'version = 2\nroot = "%s/root"\nstate = "%s/store/state"\n[grpc]\naddress = "%s/store/socket"\n' "$store" "$d" "$d" >store/config.toml
    trap 'kill "$(<run/store)" 2>/dev/null || true' EXIT  # also of what fails: the next one removes its folder
    run store "$(command -v containerd)" --config store/config.toml
    await 20 "containerd for the images" ctr -a store/socket version
    for image in "${changed[@]}"; do
        of=$(stat -c '%n %s %y' "$image")
        echo "unpacking ${image##*/} ..."
        # containerd may just be removing a layer of what was replaced when it is found for the new image: again, then.
        for ((try = 1; ; try++)); do
            ctr -a store/socket -n k8s.io images import "$image" >/dev/null && break
            [ $try -lt 3 ] || exit 1
        done
        echo "$of" >"$store/of-${image##*/}"
    done
    # Kubernetes' plugin names each image also by its id: of what was replaced that name goes, and with --sync its layers.
    ctr -a store/socket -n k8s.io images list | awk 'NR > 1 { of[$1] = $3; if ($1 !~ /^sha256:/) kept[$3] }
        END { for (name in of) if (!(of[name] in kept)) print name }' | xargs -r ctr -a store/socket -n k8s.io images remove --sync >/dev/null
    kill "$(<run/store)"
    for ((i = 0; i < 100; i++)); do alive store || break; sleep 0.1; done
    touch "$store/whole"
fi
for n in $(seq 0 $((NODES - 1))); do
    root=node-$n/containerd/root
    [ ! -d "$root" ] || continue
    mkdir -p "node-$n/containerd"
    cp -al "$store/root" "$root" 2>/dev/null || { rm -rf "$root" && cp -a --reflink=auto "$store/root" "$root"; }
    find "$root" -name '*.db' -exec cp -p --remove-destination {} {}.own \; -exec mv {}.own {} \;  # written to: never shared
done

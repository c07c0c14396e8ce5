#!/bin/bash
# Makes DIR/pause.tar, the container that holds a pod's namespaces, from Kubernetes' own source. usage: pause.sh DIR
. "$(dirname "$(realpath "$0")")/lib.sh"
mkdir -p "$1" && cd "$1"
[ ! -s pause.tar ] || exit 0
for p in go gcc; do command -v $p >/dev/null || die "$p is missing, which builds the pause container"; done
scratch=$(mktemp -d) && trap 'rm -rf "$scratch"' EXIT
source=$(cd "$here" && go mod download k8s.io/kubernetes && go list -m -f '{{.Dir}}' k8s.io/kubernetes)/build/pause/linux/pause.c
gcc -Os -static -s -DVERSION=local -o "$scratch/pause" "$source"
tar -C "$scratch" -c pause | python3 "$here/image.py" localhost/pause:1 /pause >"$scratch/pause.tar"
mv "$scratch/pause.tar" .

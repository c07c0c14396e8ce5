#!/bin/bash
# Builds the images of the node lane that are not ours, without a registry: the pause container and, with PACKAGES, a Debian root file system.
# usage: images.sh IMAGE_DIR [PACKAGES]
. "$(dirname "$(realpath "$0")")/lib.sh"
[ $# -lt 2 ] || need_root "making a root file system"
mkdir -p "$1" && cd "$1"
if [ ! -s pause.tar ]; then
    mkdir -p pause
    gcc -Os -static -s -DVERSION=local -o pause/pause "$(cd "$here" && go list -m -f '{{.Dir}}' k8s.io/kubernetes)/build/pause/linux/pause.c"
    tar -C pause -c pause | python3 "$here/image.py" localhost/pause:1 /pause >pause.tar
fi
[ $# -lt 2 ] || [ -s debian.tar ] || mmdebstrap --variant=minbase --quiet --include="iproute2,procps,curl,ca-certificates,$2" \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook='rm -rf $1/var/cache/apt/*.bin $1/var/lib/apt/lists/*' \
    "$(. /etc/os-release; echo "$VERSION_CODENAME")" - | python3 "$here/image.py" localhost/debian:1 >debian.tar

#!/bin/bash
# Runs a command on real nodes with the operator installed, and ends them afterwards whatever became of it.
# usage: on-nodes.sh DIR IMAGES COMMAND...      IMAGES: the folder of `make images`; the command finds DIR in HOWDAH_NODES
# Of a command that failed the logs of Kubernetes and of every pod are kept in DIR.log.
. "$(dirname "$(realpath "$0")")/lib.sh"
dir=$(realpath -m "$1") images=$2
need_root "real nodes need"
ls "$images"/{pause,operator,instance}.tar >/dev/null 2>&1 || die "images are missing in $images: run 'make images'"
[ ! -s "$dir/run/lane" ] || die "$dir is in use: 'make nodes-down' ends it, or name another with NODES_DIR"
trap '"$here/nodes.sh" down "$dir"' EXIT
"$here/nodes.sh" up "$dir" "${NODES:-3}" "$images"/*.tar
"$here/nodes.sh" in "$dir" "$here/operator.sh" "$dir"
code=0
"$here/nodes.sh" in "$dir" env HOWDAH_NODES="$dir" "${@:3}" || code=$?
[ $code = 0 ] || { rm -rf "$dir.log" && cp -rL "$dir/log" "$dir.log" && echo "logs: $dir.log" >&2; }
exit $code

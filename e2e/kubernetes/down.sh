#!/bin/bash
# Stops what up.sh and kwok.sh started from DIR, by pid; real nodes end with their lane (nodes.sh down). usage: down.sh [DIR [remove]]
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
stop kwok kube-scheduler kube-controller-manager kube-apiserver etcd
if [ "${2:-}" = remove ]; then  # by name: DIR may be more than ours
    rm -rf address audit.yaml etcd kubeconfig log pki run
    rmdir "$d" 2>/dev/null || true
fi

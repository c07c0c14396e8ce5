# What the scripts here share: where the programs are, and how one is run from a DIR. usage: . lib.sh; enter DIR
set -euo pipefail
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
version=$(sed -n 's/^require k8s.io\/kubernetes //p' "$here/go.mod")  # v1.36.3
default_dir=/tmp/howdah-kube-$(id -u)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/howdah
bin=${KUBE_BIN:-$cache/kube/$version/bin}

die() { echo "${0##*/}: $*" >&2; exit 1; }
need() {  # PROGRAM...: built ones
    for p in "$@"; do [ -x "$bin/$p" ] || die "$p is not built: run 'make kube-build' (with node.sh also 'make kube-build-nodes'), which needs Go"; done
}
need_root() { [ "$(id -u)" = 0 ] || die "$1 root: run it as root, or leave the lane with real nodes out"; }

enter() {  # [DIR]: everything of one cluster is under it
    local dir=${1:-$default_dir}
    (umask 077; mkdir -p "$dir")  # a folder made by somebody else would be theirs
    [ -O "$dir" ] || die "$dir belongs to another user: name a folder of your own"
    mkdir -p "$dir"/{log,run} && cd "$dir" && d=$PWD
    mkdir -p -m 700 pki
    export KUBECONFIG=$d/kubeconfig
}
cgroup_of_lane() { echo "howdah-$(printf %s "$d" | cksum | cut -d' ' -f1)"; }  # two lanes do not meet
alive() { [ -s "run/$1" ] && [[ $(readlink "/proc/$(<"run/$1")/cwd") == "$d" ]]; }  # NAME: not a reused pid, not a zombie

cert() {  # NAME SUBJECT ARGS...: a P-256 key and a certificate
    [ -s "pki/$1.crt" ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 \
        -config <(printf '[req]\ndistinguished_name=dn\n[dn]\n') -subj "$2" \
        -keyout "pki/$1.key" -out "pki/$1.crt" "${@:3}" 2>>log/openssl
}
leaf() {  # NAME SUBJECT [SAN]: signed by the one CA, for client and server use
    cert "$1" "$2" -CA pki/ca.crt -CAkey pki/ca.key -addext basicConstraints=critical,CA:false \
        -addext extendedKeyUsage=serverAuth,clientAuth ${3:+-addext "subjectAltName=$3"}
}
kubeconfig() {  # NAME FILE: for the client certificate NAME
    (umask 077; cat >"$2") <<YAML
apiVersion: v1
kind: Config
current-context: default
contexts: [{name: default, context: {cluster: default, user: $1}}]
clusters: [{name: default, cluster: {server: "https://$IP:$API", certificate-authority-data: $(base64 -w0 pki/ca.crt)}}]
users: [{name: $1, user: {client-certificate-data: $(base64 -w0 "pki/$1.crt"), client-key-data: $(base64 -w0 "pki/$1.key")}}]
YAML
}
ports() {  # NAME...: free ports of the loopback address, one NAME=PORT a line
    python3 - "$@" <<'PY'
import socket, sys
held = [socket.create_server(("127.0.0.1", 0)) for _ in sys.argv[1:]]
print("\n".join(f"{n}={s.getsockname()[1]}" for n, s in zip(sys.argv[1:], held)))
PY
}
run() {  # NAME PROGRAM ARGS...: detached, its log in log/NAME, its pid in run/NAME; holds no lock of its starter
    ! alive "$1" || return 0
    setsid "${@:2}" >>"log/$1" 2>&1 </dev/null 8>&- 9>&- & echo $! >"run/$1"
}
await() {  # SECONDS WHAT COMMAND...
    for ((i = $1 * 10; i > 0; i--)); do "${@:3}" >/dev/null 2>&1 && return; sleep 0.1; done
    die "not in $1 s: $2; see $d/log"
}
k() { "$bin/kubectl" --request-timeout 60s "$@"; }

#!/bin/bash
# Builds what is missing of Kubernetes, etcd, kwok, CoreDNS, helm, promtool and the reference operator with the ordinary Go toolchain, into the cache.
# usage: build.sh [TARGET...]      default: control-plane. Groups, cold on 2 cores: `control-plane` 7 minutes, `nodes` 4, `tools` 10, `reference` 2.
. "$(dirname "$(realpath "$0")")/lib.sh"
cd "$here"
kwok=sigs.k8s.io/kwok@v0.8.0  # not in go.mod: it would raise versions that Kubernetes pins
control_plane=(etcd kube-apiserver kube-controller-manager kube-scheduler kubectl kwok)
nodes=(kubelet kube-proxy coredns)
tools=(helm promtool kubectl)
reference=(postgres-operator)

built() {
    [ -x "$bin/$1" ] || return
    case $1 in
    kwok) [ -s "$bin/kwok.yaml" ] ;;
    postgres-operator) [ -s "$bin/postgres-operator-crds.yaml" ] ;;
    esac
}

build() {  # TARGET FILE
    local x=k8s.io/component-base/version h=helm.sh/helm/v3 minor=${version#v1.}
    case $1 in
    etcd) go build -trimpath -ldflags "-s -w" -o "$2" go.etcd.io/etcd/server/v3 ;;
    coredns) go build -C coredns -trimpath -ldflags "-s -w" -o "$2" . ;;
    helm)  # which Kubernetes a chart is rendered for is a matter of its build
        go build -C helm -trimpath -ldflags "-s -w -X $h/pkg/chartutil.k8sVersionMajor=1 -X $h/pkg/chartutil.k8sVersionMinor=${minor%%.*} \
            -X $h/pkg/lint/rules.k8sVersionMajor=1 -X $h/pkg/lint/rules.k8sVersionMinor=${minor%%.*}" -o "$2" $h/cmd/helm ;;
    postgres-operator)  # with the definitions that its users have installed
        go build -C reference -trimpath -ldflags "-s -w" -o "$2" github.com/zalando/postgres-operator/cmd
        for crd in postgresql operatorconfiguration postgresteam; do
            echo ---; cat "$(go list -C reference -m -f '{{.Dir}}' github.com/zalando/postgres-operator)/manifests/$crd.crd.yaml"
        done >"$bin/postgres-operator-crds.yaml" ;;
    promtool) go build -C promtool -trimpath -ldflags "-s -w" -o "$2" github.com/prometheus/prometheus/cmd/promtool ;;
    kwok)
        GOBIN=$2.d go install -trimpath -ldflags "-s -w" "${kwok%@*}/cmd/kwok@${kwok#*@}"
        for stage in node/fast/node-initialize node/heartbeat-with-lease/node-heartbeat-with-lease \
            pod/fast/pod-ready pod/fast/pod-complete pod/fast/pod-delete; do
            echo ---; cat "$(go env GOMODCACHE)/$kwok/kustomize/stage/$stage.yaml"
        done >"$2.d/kwok.yaml"
        mv "$2.d/kwok.yaml" "$bin/kwok.yaml" && mv "$2.d/kwok" "$2" && rmdir "$2.d" ;;
    *) go build -trimpath -o "$2" \
        -ldflags "-s -w -X $x.gitVersion=$version -X $x.gitMajor=1 -X $x.gitMinor=${minor%%.*} -X $x.gitTreeState=clean" \
        "k8s.io/kubernetes/cmd/$1" ;;
    esac
}

targets=()
for t in "${@:-control-plane}"; do
    case $t in
    control-plane) targets+=("${control_plane[@]}") ;;
    nodes) targets+=("${nodes[@]}") ;;
    tools) targets+=("${tools[@]}") ;;
    reference) targets+=("${reference[@]}") ;;
    *) targets+=("$t") ;;
    esac
done
missing=()
for t in "${targets[@]}"; do built "$t" || missing+=("$t"); done
[ ${#missing[@]} -gt 0 ] || { echo "Kubernetes $version is built: $bin"; exit; }

command -v go >/dev/null || die "Go is missing, which builds ${missing[*]}: install Go $(sed -n 's/^go //p' go.mod) or later (https://go.dev/dl)"
mkdir -p "$bin"
export CGO_ENABLED=0
for t in "${missing[@]}"; do
    echo "building $t ..."
    build "$t" "$bin/.$t.$$"  # a broken or second build leaves no half program under the real name
    mv "$bin/.$t.$$" "$bin/$t"
done

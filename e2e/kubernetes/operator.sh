#!/bin/bash
# Installs the operator on the lane's nodes from the chart, as people do: two replicas for the namespace "default", one for
# "in-endpoints" that keeps Patroni's state in Endpoints. usage: operator.sh DIR      inside the lane
# HOWDAH_IMAGES (localhost/howdah) and HOWDAH_TAG (the version of the source) name the images.
. "$(dirname "$(realpath "$0")")/lib.sh"
need helm kubectl
enter "$1"
chart=$here/../../charts/howdah images=${HOWDAH_IMAGES:-localhost/howdah} tag=${HOWDAH_TAG:-$(sed -n 's/^__version__ = "\(.*\)"/\1/p' "$here/../../src/howdah/__init__.py")}
install() {  # NAMESPACE VALUES...
    "$bin/helm" upgrade --install howdah "$chart" --namespace "$1" --create-namespace --timeout 120s \
        --set "image.registry=${images%/*},image.repository=${images##*/}/operator,image.tag=$tag" \
        --set "images.from=howdah,images.registry=${images%/*},images.repository=${images##*/},images.tag=$tag" \
        --set "configKubernetes.watched_namespace=$1,configKubernetes.enable_pod_antiaffinity=true,rbac.nodes=true" "${@:2}"
}
[ -s majors ] || {  # what the database containers have
    k run majors --image "$images/instance:$tag" --restart Never --command -- \
        python3 -P -c 'from howdah.instance.binaries import installations; print(*(one.major for one in installations("")))' >/dev/null
    k wait --for jsonpath='{.status.phase}'=Succeeded pod/majors --timeout 60s >/dev/null
    k logs majors >majors
    k delete pod majors >/dev/null
}
install default
install in-endpoints --set replicaCount=1,configTarget=ConfigMap,configGeneral.kubernetes_use_configmaps=false,priorityClassName= \
    --set podPriorityClassName.create=false,fullnameOverride=howdah-endpoints,podServiceAccount.name=postgres-pod-endpoints,crds.upgrade=false
for n in default in-endpoints; do k -n "$n" rollout status deployment -l app.kubernetes.io/name=howdah --timeout 120s; done

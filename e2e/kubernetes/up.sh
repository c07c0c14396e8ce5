#!/bin/bash
# Starts etcd, kube-apiserver, kube-controller-manager and kube-scheduler from DIR and writes DIR/kubeconfig.
# usage: [CONTROLLERS=no] [VOLUME_OWNER=UID] [AUDIT=RULES] up.sh [DIR [API_IP]]   a stopped DIR starts again with its data, a running one goes on
# API_IP is 127.0.0.1; for real nodes (node.sh) an address for the bridge "kube" of this machine, such as 10.243.0.1.
# AUDIT: rules of an audit policy, a YAML flow list; what they ask for is in DIR/log/audit, a line for each request.
# CONTROLLERS=no: etcd and kube-apiserver alone, so that nobody but the caller changes an object.
. "$(dirname "$(realpath "$0")")/lib.sh"
need etcd kube-apiserver kube-controller-manager kube-scheduler kubectl
enter "${1:-}"

[ -s address ] || { printf 'IP=%s\nVOLUME_OWNER=%s\n' "${2:-127.0.0.1}" "${VOLUME_OWNER:-}"; ports API ETCD PEER; } >address
. ./address
services=10.96.0.0/16
reconciler=none  # the endpoints of the service "kubernetes" cannot be a loopback address
if [[ $IP != 127.* ]]; then
    reconciler=lease
    need_root "the bridge for real nodes needs"
    ip link show kube >/dev/null 2>&1 || ip link add kube type bridge
    ip address replace "$IP/24" dev kube
    ip link set kube up
fi

cert ca /CN=kubernetes-ca -addext basicConstraints=critical,CA:true -addext keyUsage=critical,keyCertSign,cRLSign
leaf apiserver /CN=kube-apiserver \
    "DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,IP:$IP,IP:10.96.0.1"
leaf admin /O=system:masters/CN=admin
leaf kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client
leaf controller-manager /CN=system:kube-controller-manager
leaf scheduler /CN=system:kube-scheduler
cert service-accounts /CN=service-accounts  # only its key is used
kubeconfig admin kubeconfig
kubeconfig controller-manager pki/controller-manager.conf
kubeconfig scheduler pki/scheduler.conf

run etcd "$bin/etcd" --data-dir "$d/etcd" --unsafe-no-fsync --log-level warn \
    --listen-client-urls "http://127.0.0.1:$ETCD" --advertise-client-urls "http://127.0.0.1:$ETCD" \
    --listen-peer-urls "http://127.0.0.1:$PEER" --initial-advertise-peer-urls "http://127.0.0.1:$PEER" \
    --initial-cluster "default=http://127.0.0.1:$PEER"
[ -z "${AUDIT:-}" ] ||
    printf '%s\n' 'apiVersion: audit.k8s.io/v1' 'kind: Policy' 'omitStages: [RequestReceived, ResponseStarted]' "rules: $AUDIT" >audit.yaml
audit=()
[ ! -s audit.yaml ] || audit=(--audit-policy-file audit.yaml --audit-log-path log/audit)
run kube-apiserver "$bin/kube-apiserver" --etcd-servers "http://127.0.0.1:$ETCD" --bind-address "$IP" --advertise-address "$IP" --secure-port "$API" \
    --service-cluster-ip-range $services --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction \
    --endpoint-reconciler-type $reconciler --allow-privileged \
    --tls-cert-file pki/apiserver.crt --tls-private-key-file pki/apiserver.key --client-ca-file pki/ca.crt \
    --kubelet-client-certificate pki/kubelet-client.crt --kubelet-client-key pki/kubelet-client.key \
    --kubelet-certificate-authority pki/ca.crt --kubelet-preferred-address-types InternalIP \
    --service-account-issuer https://kubernetes.default.svc.cluster.local \
    --service-account-key-file pki/service-accounts.crt --service-account-signing-key-file pki/service-accounts.key "${audit[@]}"
await 60 "kube-apiserver ready" curl -sf --cacert pki/ca.crt "https://$IP:$API/readyz"
[ "${CONTROLLERS:-yes}" = yes ] || exit 0

# The provisioner for paths of the host now and then meets itself while it deletes a volume (a conflict between two of its own
# workers), and looks again at its next round only, by default 15 seconds later.
as=()  # who owns the folders of volumes: a container's ordinary user can write to its volume, as with other provisioners
[ -z "${VOLUME_OWNER:-}" ] || as=(setpriv --reuid "$VOLUME_OWNER" --regid "$VOLUME_OWNER" --clear-groups \
    --inh-caps +dac_override,+fowner --ambient-caps +dac_override,+fowner)
run kube-controller-manager "${as[@]}" "$bin/kube-controller-manager" --kubeconfig pki/controller-manager.conf --secure-port 0 --leader-elect=false \
    --use-service-account-credentials --service-account-private-key-file pki/service-accounts.key --root-ca-file pki/ca.crt \
    --cluster-signing-cert-file pki/ca.crt --cluster-signing-key-file pki/ca.key --service-cluster-ip-range $services \
    --kube-api-qps 200 --kube-api-burst 400 --enable-hostpath-provisioner --pvclaimbinder-sync-period 1s
run kube-scheduler "$bin/kube-scheduler" --kubeconfig pki/scheduler.conf --secure-port 0 --leader-elect=false --kube-api-qps 200 --kube-api-burst 400

# With real nodes as clouds have it: without it each pod waits a second for the scheduler's second look.
k apply -f - >/dev/null <<YAML
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: standard, annotations: {storageclass.kubernetes.io/is-default-class: "true"}}
provisioner: kubernetes.io/host-path
allowVolumeExpansion: true
volumeBindingMode: $([ -n "$VOLUME_OWNER" ] && echo WaitForFirstConsumer || echo Immediate)
YAML
k wait --for create serviceaccount default --timeout 60s >/dev/null  # the controller manager works
echo "export KUBECONFIG=$KUBECONFIG PATH=\"$bin:\$PATH\""

"""What the Kubernetes API does to what is written: how it tells list items apart, what it fills in, what it canonicalises.

Tables only, for the kinds that we write; `containment` reads them. Sources: the API reference's merge keys, and
`SetDefaults_*` of Kubernetes 1.30 to 1.36.
"""

from collections.abc import Mapping
from typing import Any

LIST_KEYS: Mapping[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "env": ("name",),
    "volumes": ("name",),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "imagePullSecrets": ("name",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "ownerReferences": ("uid",),
    "subjects": ("kind", "name"),
    "containerPorts": ("containerPort", "protocol"),
    "servicePorts": ("port", "protocol"),
}
"""Lists that are maps. `ports` is one of two, told apart by what its items hold."""

KEY_DEFAULTS: Mapping[str, str] = {"protocol": "TCP"}
"""What a key means where it is not written."""

SETS = frozenset(
    {
        "accessModes",
        "add",
        "drop",
        "finalizers",
        "loadBalancerSourceRanges",
        "matchExpressions",
        "nodeSelectorTerms",
        "preferredDuringSchedulingIgnoredDuringExecution",
        "requiredDuringSchedulingIgnoredDuringExecution",
        "tolerations",
        "values",
    }
)
"""Lists whose order means nothing; they are replaced as a whole."""

QUANTITIES = frozenset({"cpu", "memory", "storage", "hugepages-2Mi", "hugepages-1Gi", "ephemeral-storage", "sizeLimit"})
"""Names of fields that hold quantities, of which `1` and `1000m` are the same."""

DEFAULTS: Mapping[str, tuple[Any, ...]] = {
    "allocateLoadBalancerNodePorts": (True,),
    "apiVersion": ("v1", "apps/v1"),  # of a fieldRef, of a claim template
    "creationTimestamp": (None,),
    "defaultMode": (0o644,),
    "dnsPolicy": ("ClusterFirst",),
    "expirationSeconds": (3600,),
    "externalTrafficPolicy": ("Cluster",),
    "failureThreshold": (3,),
    "fsType": ("ext4",),
    "imagePullPolicy": ("IfNotPresent", "Always"),  # by the image's tag
    "internalTrafficPolicy": ("Cluster",),
    "ipFamilyPolicy": ("SingleStack",),
    "kind": ("PersistentVolumeClaim",),  # of a claim template
    "maxSurge": (0,),
    "minReadySeconds": (0,),
    "operator": ("Equal",),
    "path": ("/",),
    "periodSeconds": (10,),
    "podManagementPolicy": ("OrderedReady",),
    "progressDeadlineSeconds": (600,),
    "protocol": ("TCP",),
    "readOnly": (False,),
    "restartPolicy": ("Always",),
    "revisionHistoryLimit": (10,),
    "schedulerName": ("default-scheduler",),
    "scheme": ("HTTP",),
    "service": ("",),
    "sessionAffinity": ("None",),
    "status": (),  # whatever it says, it is the server's
    "successThreshold": (1,),
    "suspend": (False,),  # of a CronJob
    "terminationGracePeriodSeconds": (30,),
    "terminationMessagePath": ("/dev/termination-log",),
    "terminationMessagePolicy": ("File",),
    "timeoutSeconds": (1,),
    "type": ("", "ClusterIP"),  # of a hostPath, of a service
    "volumeMode": ("Filesystem",),
    "whenDeleted": ("Retain",),
    "whenScaled": ("Retain",),
}
"""Values that the server fills in where nothing was written, by the name of the field."""

SERVERS = frozenset(
    {
        "clusterIP",
        "clusterIPs",
        "creationTimestamp",
        "generation",
        "healthCheckNodePort",
        "ipFamilies",
        "managedFields",
        "nodePort",
        "resourceVersion",
        "selfLink",
        "serviceAccount",
        "status",
        "strategy",
        "subsets",
        "uid",
    }
)
"""Fields that the server, or somebody whom it lets, writes where we leave them out; their value says nothing to us."""


FREE_MAPS = frozenset({"annotations", "labels", "matchLabels", "nodeSelector"})
"""Maps whose keys are data and no fields: the server fills nothing in there."""

EMPTY = frozenset({"resources", "securityContext"})
"""Objects that the server makes empty where they are left out."""


def list_keys(name: str, items: list[Any]) -> tuple[str, ...]:
    """The keys of the items of list `name`; empty for one that is not a map."""
    if name != "ports":
        return LIST_KEYS.get(name, ())
    is_container = any(isinstance(item, Mapping) and "containerPort" in item for item in items)
    return LIST_KEYS["containerPorts" if is_container else "servicePorts"]


def is_filled_in(name: str, value: Any) -> bool:
    """Whether the server may have written `value` into a field that was left out."""
    if name in SERVERS or value is None or value == {} or value == []:
        return True
    if isinstance(value, Mapping):
        return all(is_filled_in(key, item) for key, item in value.items())
    # 0 and False are other words than 1 and True here, although Python calls them equal to numbers.
    return any(value == default and type(value) is type(default) for default in DEFAULTS.get(name, ()))

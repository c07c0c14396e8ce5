"""Whose the objects are: annotations by kind, owner references, and the account that the pods run as."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from howdah.core.request.asked import Asked, Json
from howdah.model import names
from howdah.model.cluster import Annotations, ServiceAccount
from howdah.model.settings import Settings

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_RBAC = "rbac.authorization.k8s.io"


def annotations(asked: Asked) -> Annotations:
    """What is written on objects: of the resource's annotations only those that the operator names."""
    written, settings = asked.metadata.annotations, asked.settings
    inherited = {key: written[key] for key in settings.inherited_annotations if key in written}
    patterns = [re.compile(pattern) for pattern in settings.downscaler_annotations]
    downscaler = {key: value for key, value in written.items() if any(p.search(key) for p in patterns)}
    role = {names.KUBE2IAM_ROLE: settings.kube_iam_role} if settings.kube_iam_role else {}
    job = {**settings.custom_pod_annotations, **(asked.spec.pod_annotations or {}), **inherited}
    return Annotations(
        inherited=inherited,
        pod={**job, **role},
        job=job,
        stateful_set={**inherited, **downscaler},
    )


def owner_references(asked: Asked, of_resource: tuple[Json, ...]) -> tuple[Json, ...]:
    """Who owns the objects: whoever owns the resource, and with `enable_owner_references` the resource itself.

    An object has one controller at most, so the resource takes that place from its own owner.
    """
    if not asked.settings.enable_owner_references:
        return of_resource
    uid = asked.metadata.uid
    if any(owner.get("uid") == uid for owner in of_resource):
        return of_resource
    others = tuple({key: value for key, value in owner.items() if key != "controller"} for owner in of_resource)
    resource = {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "name": asked.names.cluster,
        "uid": uid,
        "controller": True,
    }
    return (*others, resource)


def service_account(asked: Asked) -> ServiceAccount:
    """The account of the pods and its role binding, from the operator's definitions or made up.

    Raises ValueError with a sentence for a definition that cannot be read.
    """
    settings, name = asked.settings, asked.names.service_account
    account = _definition(
        settings.pod_service_account_definition, "v1", "ServiceAccount", "pod_service_account_definition"
    )
    metadata = {**(account.get("metadata") or {}), "name": name, "namespace": asked.names.namespace}
    if settings.irsa_role_arn:
        metadata["annotations"] = {**(metadata.get("annotations") or {}), names.IRSA_ROLE: settings.irsa_role_arn}
    binding = _definition(
        settings.pod_service_account_role_binding_definition,
        f"{_RBAC}/v1",
        "RoleBinding",
        "pod_service_account_role_binding_definition",
    )
    role = {"apiGroup": _RBAC, "kind": "ClusterRole", "name": name}
    subjects = [{"kind": "ServiceAccount", "name": name}]
    bound = {"roleRef": role, "subjects": subjects, **binding}
    bound["metadata"] = {"name": name, **(bound.get("metadata") or {}), "namespace": asked.names.namespace}
    return ServiceAccount({**account, "metadata": metadata}, bound)


@dataclass(frozen=True, slots=True)
class PodBinding:
    """The role binding of the pods' account: its name, and the role that it gives."""

    name: str
    role: str
    role_kind: str = "ClusterRole"


def pod_binding(definition: str, account: str) -> PodBinding:
    """As the option of that name defines it; what it does not say is called like the account. Raises ValueError."""
    option = "pod_service_account_role_binding_definition"
    written = _definition(definition, f"{_RBAC}/v1", "RoleBinding", option)
    role = written.get("roleRef") or {"name": account}
    if not isinstance(role, Mapping) or not role.get("name"):
        raise ValueError(f"{option} has a roleRef without a name; write which role pods get")
    name = (written.get("metadata") or {}).get("name") or account
    return PodBinding(str(name), str(role["name"]), str(role.get("kind", "ClusterRole")))


def role_binding_name(settings: Settings) -> str:
    """What the role binding of the pods' account is called."""
    account = settings.pod_service_account_name
    try:
        return pod_binding(settings.pod_service_account_role_binding_definition, account).name
    except ValueError:  # said where a manifest is resolved
        return account


def _definition(text: str, api_version: str, kind: str, option: str) -> dict[str, Any]:
    """The object that an option holds as JSON or YAML; a bare one where it is empty."""
    bare = {"apiVersion": api_version, "kind": kind}
    if not text:
        return bare
    try:
        written = yaml.load(text, _Loader)  # noqa: S506  # safe, and where it can be, fast
    except (yaml.YAMLError, ValueError, KeyError, RecursionError):  # the last ones of a value that its tag does not fit
        written = None
    is_object = isinstance(written, Mapping) and written.get("kind") == kind
    if not is_object or not isinstance(written.get("metadata") or {}, Mapping):
        raise ValueError(f"{option} is not a {kind}; write its manifest as JSON or YAML")
    return {**bare, **written}

"""Whether an object is one that Kubernetes takes: by the published schemas and rules, as our API server judges."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import cache
from typing import Any

from howdah.local.apiserver import crds, custom
from howdah.local.apiserver.decoding import decoded, with_schema_defaults
from howdah.local.apiserver.defaulting import apply_defaults
from howdah.local.apiserver.errors import ApiError
from howdah.local.apiserver.kinds import Kind, Registry
from howdah.local.apiserver.rules import create_errors
from howdah.local.apiserver.schema import builtin_definitions
from howdah.model.crds import all_crds
from howdah.model.names import STREAM_KIND


@cache
def _registry() -> Registry:
    registry = Registry(builtin_definitions())
    for crd in all_crds():
        registry.install(crd["metadata"]["name"], crds.kinds_of(deepcopy(crd)))
    return registry


@cache
def _kind(api_version: str, kind: str) -> Kind:
    return next(k for k in _registry() if (k.api_version, k.kind) == (api_version, kind))


def objections(body: Mapping[str, Any]) -> Iterator[str]:
    """Why the API server would refuse `body`, or drop a part of it."""
    if body["kind"] == STREAM_KIND:
        return  # its definition comes with another operator
    kind = _kind(body["apiVersion"], body["kind"])
    try:
        if kind.custom is not None:
            obj, unknown = custom.decoded(deepcopy(dict(body)), kind, _registry().object_meta)
        else:
            obj, unknown = decoded(body, kind)
    except ApiError as error:
        yield f"{body['kind']}: {error}"
        return
    yield from (f"{body['kind']}: {path} is not known" for path in unknown)
    if kind.custom is None:
        obj = deepcopy(obj)
        with_schema_defaults(obj, kind.schema)
        apply_defaults(kind.storage, obj)
    yield from (f"{body['kind']}: {error.field}: {error.text}" for error in create_errors(kind, obj))

"""What the fake server's answers look like on the wire."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from howdah.kube.errors import ApiError
from howdah.kube.resources import Resource

from .store import Object


def metadata_only(obj: Object) -> Object:
    """An object as `PartialObjectMetadata`."""
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}


_SCALE_METADATA = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def scale_object(live: Object) -> Object:
    """The `scale` subresource of an object."""
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: live["metadata"][key] for key in _SCALE_METADATA if key in live["metadata"]},
        "spec": {"replicas": live["spec"].get("replicas", 1)},
        "status": {"replicas": (live.get("status") or {}).get("replicas", 0)},
    }


def bookmark_line(resource: Resource, version: int) -> bytes:
    """A bookmark of a watch."""
    # creationTimestamp null and no name: what the real one sends, and what breaks readers that expect an object
    metadata = {"resourceVersion": str(version), "creationTimestamp": None}
    obj = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
    return msgspec.json.encode({"type": "BOOKMARK", "object": obj}) + b"\n"


def status_object(error: ApiError) -> Object:
    """The `Status` object of a refusal."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": error.message,
        "reason": error.reason,
        "details": error.details,
        "code": error.status,
    }


def refused(error: ApiError) -> web.Response:
    """A refusal, with Retry-After where it has one."""
    after = error.retry_after_s
    headers = {} if after is None else {"Retry-After": f"{after:g}"}
    return json_answer(status_object(error), error.status, headers)


def json_answer(obj: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """An object as the body."""
    body = msgspec.json.encode(obj)
    return web.Response(body=body, status=status, content_type="application/json", headers=headers)


def exec_status(code: int) -> bytes:
    """How a command ended, for the status channel."""
    if code == 0:
        return b'{"metadata":{},"status":"Success"}'
    causes = [{"reason": "ExitCode", "message": str(code)}]
    failure = {"status": "Failure", "reason": "NonZeroExitCode", "details": {"causes": causes}}
    return msgspec.json.encode({"metadata": {}, **failure})

"""What a request asks for: the resource of its path, its options, its body, and how it wants the answer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from aiohttp import web

from howdah.kube.documents import read_documents
from howdah.kube.errors import UNREADABLE

from . import protobuf
from .errors import FieldError, Subject, bad_request, invalid_object, unsupported, unsupported_media_type
from .objects import decode

_NAMED_NAMESPACE_SUBRESOURCES = ("status", "finalize")


@dataclass(frozen=True, slots=True)
class Target:
    """The resource that a path names."""

    group: str
    version: str
    plural: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""


def target_of(path: str) -> Target | None:
    """/api/v1/… or /apis/GROUP/VERSION/… with a resource; None for everything else."""
    parts = [part for part in path.split("/") if part]
    if parts[:1] == ["api"] and len(parts) >= 3:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[:1] == ["apis"] and len(parts) >= 4:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace = ""
    if (
        rest[0] == "namespaces"
        and len(rest) >= 3
        and not (len(rest) == 3 and rest[2] in _NAMED_NAMESPACE_SUBRESOURCES and not group)
    ):
        namespace, rest = rest[1], rest[2:]
    if len(rest) > 3:
        return None
    plural, name, subresource = (*rest, "", "")[:3]
    return Target(group, version, plural, namespace, name, subresource)


def flag(query: Mapping[str, str], name: str) -> bool:
    """A yes or no of the query; anything given but 0 and false is a yes."""
    return is_yes(query.get(name))


def is_yes(text: str | None) -> bool:
    return text is not None and text != "0" and text.lower() != "false"


def number(query: Mapping[str, str], name: str) -> int | None:
    """A whole number of the query; 400 where it is none."""
    text = query.get(name)
    if not text:
        return None
    try:
        return int(text)
    except ValueError as error:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from error


MANAGER_MAX_BYTES = 128


def manager_of(request: web.BaseRequest) -> str:
    """The field manager: named, or the program of the user agent."""
    named = request.query.get("fieldManager")
    if named:
        if len(named.encode()) > MANAGER_MAX_BYTES:
            kind = _OPTIONS.get(request.method, "ListOptions")
            error = FieldError("fieldManager", "TooLong", f"Too long: may not be more than {MANAGER_MAX_BYTES} bytes")
            raise invalid_object(Subject("meta.k8s.io", kind.lower(), kind), "", [error])
        return named
    return request.headers.get("User-Agent", "").split("/")[0][:128] or "unknown"


_OPTIONS = {"POST": "CreateOptions", "PUT": "UpdateOptions", "PATCH": "PatchOptions", "DELETE": "DeleteOptions"}


def is_dry_run(query: Mapping[str, str], method: str) -> bool:
    """dryRun=All; 422 for anything else."""
    value = query.get("dryRun")
    if value in (None, ""):
        return False
    if value != "All":
        kind = _OPTIONS.get(method, "ListOptions")
        error = unsupported("dryRun", [value], ("All",))
        raise invalid_object(Subject("meta.k8s.io", kind.lower(), kind), "", [error])
    return True


def validation_of(query: Mapping[str, str], method: str) -> str:
    """fieldValidation: Strict, Warn (the default) or Ignore; 422 for anything else."""
    value = query.get("fieldValidation") or "Warn"
    if value not in ("Ignore", "Strict", "Warn"):
        kind = _OPTIONS.get(method, "ListOptions")
        error = unsupported("fieldValidation", value, ("", "Ignore", "Strict", "Warn"))
        raise invalid_object(Subject("meta.k8s.io", kind.lower(), kind), "", [error])
    return value


JSON, YAML = "application/json", "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
BODY_TYPES = (JSON, YAML, PROTOBUF)


def parsed_body(data: bytes, content_type: str) -> Any:
    """A JSON, YAML or protobuf body; None for an empty one."""
    if not data:
        return None
    kind = content_type.partition(";")[0].strip().lower()
    if kind in ("", JSON, "text/plain", "application/octet-stream") or kind.endswith("+json"):
        try:
            return decode(data)
        except UNREADABLE as error:
            raise bad_request(f"couldn't get version/kind; json parse error: {error}") from error
    if kind == YAML or kind.endswith("+yaml"):
        return from_yaml(data)
    if kind == PROTOBUF:
        try:
            return protobuf.decoded(data)
        except protobuf.NotProtobufError as error:
            raise bad_request(str(error)) from error
    raise unsupported_media_type(BODY_TYPES)


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as it stands: repeated keys are still there."""


def repeated_fields(data: bytes, content_type: str) -> list[str]:
    """The paths of keys that an object of a JSON body has more than once (the last one counts)."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in ("", JSON) or not data:
        return []
    found: list[bool] = []

    def note(pairs: list[tuple[str, Any]]) -> None:
        if len({key for key, _ in pairs}) < len(pairs):
            found.append(True)

    json.loads(data, object_pairs_hook=note)
    return list(_repeated(json.loads(data, object_pairs_hook=_Pairs), "")) if found else []


def _repeated(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, _Pairs):
        seen: set[str] = set()
        for key, item in value:
            place = f"{path}.{key}" if path else key
            if key in seen:
                yield place
            seen.add(key)
            yield from _repeated(item, place)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _repeated(item, f"{path}[{index}]")


def from_yaml(data: bytes) -> Any:
    if data.lstrip()[:1] == b"{":
        try:
            return decode(data)
        except UNREADABLE:
            pass  # YAML in flow style
    try:
        return next(read_documents(data), None)  # as the API server: of several the first
    except yaml.YAMLError as error:
        raise bad_request(f"error decoding YAML: {error}") from error


@dataclass(frozen=True, slots=True)
class Answer:
    """How the client wants to be answered: `form` is empty, Table, PartialObjectMetadata or its List."""

    form: str = ""
    yaml: bool = False
    api_version: str = "meta.k8s.io/v1"


_FORMS = ("Table", "PartialObjectMetadata", "PartialObjectMetadataList")


def wanted_answer(accept: str) -> Answer | None:
    """The first acceptable form; None where there is none (406)."""
    if not accept:
        return Answer()
    for clause in accept.split(","):
        media, *parameters = (part.strip() for part in clause.split(";"))
        options = dict(p.split("=", 1) for p in parameters if "=" in p)
        form = options.get("as", "")
        if media not in (JSON, YAML, "*/*", "application/*"):
            continue
        if not form:
            return Answer(yaml=media == YAML)
        if form in _FORMS and options.get("g") == "meta.k8s.io" and options.get("v") in ("v1", "v1beta1"):
            return Answer(form, api_version=f"meta.k8s.io/{options['v']}")
        if options.get("g") == "apidiscovery.k8s.io":
            continue
    return None


def takes_text(accept: str) -> bool:
    """Whether plain text, which is all that a log is, may be answered."""
    medias = {clause.partition(";")[0].strip() for clause in accept.split(",")} - {""}
    return not medias or not medias.isdisjoint(("text/plain", "text/*", "*/*", "application/*", *BODY_TYPES))

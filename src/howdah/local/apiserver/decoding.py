"""From a request's body to an object of a built-in kind, as the real server's typed decoding does it.

Unknown fields are dropped (and reported), null means absent, empty lists and maps of optional fields go,
parts that always exist appear, quantities get their one spelling. A value of the wrong type is a 400.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from .errors import ApiError, Subject, bad_request, invalid, invalid_object
from .kinds import Kind
from .objects import Obj, encode, json_type
from .quantities import canonical
from .schema import Schema

QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"


_NULL_TIMES: Mapping[str, tuple[str, ...]] = {
    "PodCondition": ("lastProbeTime", "lastTransitionTime"),
    "PersistentVolumeClaimCondition": ("lastProbeTime", "lastTransitionTime"),
    "NodeCondition": ("lastHeartbeatTime", "lastTransitionTime"),
    "DeploymentCondition": ("lastUpdateTime", "lastTransitionTime"),
    "StatefulSetCondition": ("lastTransitionTime",),
    "ReplicaSetCondition": ("lastTransitionTime",),
    "JobCondition": ("lastProbeTime", "lastTransitionTime"),
    "ContainerStateRunning": ("startedAt",),
    "ContainerStateTerminated": ("startedAt", "finishedAt"),
}
"""Times that the real server shows as null where they are not known."""


class WrongTypeError(Exception):
    """A value that the field's type cannot hold; the text is the decoder's."""


class Decoder:
    """One pass over one object; `unknown` collects the paths that no type knows."""

    def __init__(self) -> None:
        self.unknown: list[str] = []

    def value(self, value: Any, schema: Schema, path: str, owner: str = "") -> Any:
        if schema.definition == QUANTITY:
            return _quantity(value)
        if schema.int_or_string:
            return _expect(value, isinstance(value, (int, str)) and not isinstance(value, bool), "intstr", path, owner)
        reader = _READERS.get(schema.type or "")
        return reader(self, value, schema, path, owner) if reader else value

    def object(self, value: Any, schema: Schema, path: str, owner: str) -> Any:
        _expect(value, isinstance(value, dict), _go_type(schema), path, owner)
        if schema.additional is not None and not schema.properties:
            inner = schema.additional
            read = {k: self.value(v, inner, path or k, owner) for k, v in value.items() if v is not None}
            if len(read) < len(value) and inner.type == "string":
                read |= {k: "" for k, v in value.items() if v is None}
            return read
        if schema.is_free:
            return value
        return self._struct(value, schema, path)

    def _struct(self, value: Obj, schema: Schema, path: str) -> Obj:
        owner = schema.definition.rpartition(".")[2]
        result: Obj = {}
        for key, item in value.items():
            place = f"{path}.{key}" if path else key
            part = schema.properties.get(key)
            if part is None:
                self.unknown.append(place)
            elif item is not None:
                read = self.value(item, part, place, owner)
                if read or key in schema.required or not _is_collection(read, part):
                    result[key] = read
        for name in _NULL_TIMES.get(owner, ()):
            result.setdefault(name, None)
        return with_schema_defaults(result, schema)

    def array(self, value: Any, schema: Schema, path: str, owner: str) -> Any:
        _expect(value, isinstance(value, list), _go_type(schema), path, owner)
        items = schema.items
        return [
            self.value(item, items, f"{path}[{index}]", owner) for index, item in enumerate(value) if item is not None
        ]

    def integer(self, value: Any, schema: Schema, path: str, owner: str) -> Any:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        is_integer = isinstance(value, int) and not isinstance(value, bool)
        return _expect(value, is_integer, schema.format or "int64", path, owner)

    def number(self, value: Any, schema: Schema, path: str, owner: str) -> Any:
        return _expect(value, isinstance(value, (int, float)), "float64", path, owner)

    def string(self, value: Any, schema: Schema, path: str, owner: str) -> Any:
        if schema.format == "byte" and isinstance(value, str):
            _check_base64(value)
        _expect(value, isinstance(value, str), "string", path, owner)
        if schema.format == "date-time":
            _check_time(value, schema)
        return value

    def boolean(self, value: Any, schema: Schema, path: str, owner: str) -> Any:
        return _expect(value, isinstance(value, bool), "bool", path, owner)


_READERS: Mapping[str, Callable[[Decoder, Any, Schema, str, str], Any]] = {
    "object": Decoder.object,
    "array": Decoder.array,
    "integer": Decoder.integer,
    "number": Decoder.number,
    "string": Decoder.string,
    "boolean": Decoder.boolean,
}


def _expect(value: Any, holds: bool, go_type: str, path: str, owner: str) -> Any:
    if holds:
        return value
    found = {"integer": "number", "boolean": "bool"}.get(json_type(value), json_type(value))
    place = f"Go struct field {owner}.{path}" if owner else "Go value"
    raise WrongTypeError(f"json: cannot unmarshal {found} into {place} of type {go_type}")


def _go_type(schema: Schema) -> str:
    if schema.type == "array":
        return "[]" + _go_type(schema.items)
    if schema.type == "object" and schema.additional is not None:
        return "map[string]" + _go_type(schema.additional)
    if schema.definition:
        package, _, name = schema.definition.rpartition(".")
        return f"{package.rpartition('.')[2]}.{name}"
    return schema.format or schema.type or "interface {}"


def _quantity(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise WrongTypeError(f"json: cannot unmarshal {json_type(value)} into Go value of type resource.Quantity")
    try:
        return canonical(value)
    except ValueError as error:
        raise WrongTypeError(str(error)) from error


_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)")


def _check_time(text: str, schema: Schema) -> None:
    micro = schema.definition.endswith("MicroTime")
    layout = "2006-01-02T15:04:05.000000Z07:00" if micro else "2006-01-02T15:04:05Z07:00"
    if not (_MICRO_TIME if micro else _TIME).fullmatch(text):
        raise WrongTypeError(f'parsing time "{text}" as "{layout}": cannot parse "{text}" as "2006"')


_BASE64 = re.compile(r"[A-Za-z0-9+/]*")


def _check_base64(text: str) -> None:
    good = _BASE64.match(text)
    end = good.end() if good else 0
    rest = text[end:]
    if rest.strip("=\r\n") or len(text) % 4 or len(rest) > 2:
        raise WrongTypeError(f"illegal base64 data at input byte {end}")


def _is_collection(value: Any, schema: Schema) -> bool:
    """An empty list or map is not stored; an empty structure is."""
    if isinstance(value, list):
        return True
    return isinstance(value, dict) and schema.additional is not None and not schema.properties


def with_schema_defaults(value: Obj, schema: Schema) -> Obj:
    """Adds (in place) the parts that a type always has, such as `resources: {}` of a container."""
    for key, default, part in _defaulted(schema):
        if key not in value:
            value[key] = with_schema_defaults({}, part) if default == {} else default
    return value


def _defaulted(schema: Schema) -> tuple[tuple[str, Any, Schema], ...]:
    cached = schema.__dict__.get("defaulted_parts")
    if cached is None:
        cached = tuple((key, part.default, part) for key, part in schema.properties.items() if part.has_default)
        schema.__dict__["defaulted_parts"] = cached
    return cached


def decoded(body: Any, kind: Kind) -> tuple[Obj, list[str]]:
    """The object of a body, and the paths of its unknown fields."""
    if not isinstance(body, dict):
        raise bad_request(refusal(kind, f"json: cannot unmarshal {json_type(body)} into Go value of type {kind.kind}"))
    decoder = Decoder()
    try:
        obj = decoder.value(body, kind.schema, "")
    except WrongTypeError as error:
        raise bad_request(refusal(kind, str(error))) from error
    return obj, decoder.unknown


def refusal(kind: Kind, why: str) -> str:
    """Why a body cannot be an object of a kind, as the decoder says it."""
    return f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: {why}'


def strictness(kind: Kind, unknown: list[str], repeated: list[str], mode: str) -> list[str]:
    """What fieldValidation makes of unknown and repeated fields: a 400 for Strict, warnings for Warn, else nothing."""
    problems = [f'duplicate field "{path}"' for path in repeated] + [f'unknown field "{path}"' for path in unknown]
    if problems and mode == "Strict":
        raise bad_request(refusal(kind, "strict decoding error: " + ", ".join(problems)))
    return problems if mode == "Warn" else []


def check_type(body: Obj, kind: Kind) -> None:
    """apiVersion and kind of a body must be those of the address."""
    found_version, found_kind = body.get("apiVersion"), body.get("kind")
    if not found_kind and kind.custom is None and not found_version:
        return  # the address says it all
    if not found_kind:
        raise bad_request("Object 'Kind' is missing in '" + encode(body).decode() + "'")
    if kind.custom is not None and found_version == kind.api_version and found_kind != kind.kind:
        subject = Subject(kind.group, kind.plural, str(found_kind))
        raise invalid_object(
            subject,
            str((body.get("metadata") or {}).get("name", "")),
            [invalid("kind", found_kind, f"must be {kind.kind}")],
        )
    if found_version != kind.api_version or found_kind != kind.kind:
        raise _wrong_kind(kind, str(found_version), str(found_kind))


def _wrong_kind(kind: Kind, version: str, found_kind: str) -> ApiError:
    if version != kind.api_version:
        message = (
            f"the API version in the data ({version}) does not match the expected API version ({kind.api_version})"
        )
        return bad_request(message)
    return bad_request(
        f'{found_kind} in version "{kind.version}" cannot be handled as a {kind.kind}: '
        f"converting ({version.rpartition('/')[2]}.{found_kind}) to ({_internal(kind)}.{kind.kind}): unknown conversion"
    )


def _internal(kind: Kind) -> str:
    """The package of a kind's internal version, which conversion errors name."""
    return kind.group.partition(".")[0] or "core"

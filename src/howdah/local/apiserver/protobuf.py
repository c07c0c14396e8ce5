"""Kubernetes' protobuf bodies → the same objects as JSON: what typed clients (`kubectl create`, client-go) send.

Only reading: answers are always JSON, which every client accepts. Field numbers are data (`protobuf_fields.json`, made by
`e2e/kubernetes/protobuf_fields.py`); the wire format is https://protobuf.dev/programming-guides/encoding.
"""

import base64
import functools
import json
import struct
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from importlib import resources
from typing import Any

MAGIC = b"k8s\x00"

Wire = int | bytes  # a varint or fixed number, or a length-delimited value
Message = Mapping[str, tuple[str, str]]  # field number → (name in JSON, type)


class NotProtobufError(ValueError):
    """The body is no object of Kubernetes' protobuf; the message says why."""


def decoded(body: bytes) -> dict[str, Any]:
    """The object in a body of type application/vnd.kubernetes.protobuf, with apiVersion and kind.

    Raises NotProtobufError for another format, a broken body or a kind without known fields.
    """
    if not body.startswith(MAGIC):
        raise NotProtobufError("provided data does not appear to be a protobuf message, expected prefix k8s\\x00")
    try:
        envelope = dict(_fields(body[len(MAGIC) :]))
        kind = {number: _text(value) for number, value in _fields(_bytes(envelope.get(1, b"")))}
        api_version, name = kind.get(1, ""), kind.get(2, "")
        message = _message_of(api_version, name)
        return {"apiVersion": api_version, "kind": name, **_object(message, _bytes(envelope.get(2, b"")))}
    except (IndexError, struct.error, UnicodeDecodeError, TypeError) as error:
        raise NotProtobufError(f"the protobuf body is broken: {error}") from error


@functools.cache
def _messages() -> Mapping[str, Message]:
    return json.loads(resources.files(__package__).joinpath("protobuf_fields.json").read_text())  # type: ignore[no-any-return]


def _message_of(api_version: str, kind: str) -> str:
    """The message of a kind: its group's own, or one that every group has (DeleteOptions)."""
    group, _, version = api_version.rpartition("/")
    own = f"{group.partition('.')[0] or 'core'}.{kind}"
    for name in (own, f"meta.{kind}"):
        if version == "v1" and name in _messages():
            return name
    raise NotProtobufError(f'no kind "{kind}" is registered for version "{api_version}" in protobuf')


def _object(message: str, data: bytes) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for number, wire in _fields(data):
        name, type_ = _messages()[message].get(str(number), (None, ""))
        if name is None:
            continue  # of a later release
        if type_.startswith("[]"):
            shown.setdefault(name, []).extend(_elements(type_[2:], wire))
        elif type_.startswith("{}"):
            entry = dict(_fields(_bytes(wire)))
            shown.setdefault(name, {})[_text(entry.get(1, b""))] = _value(type_[2:], entry.get(2, b""))
        else:
            value = _value(type_.removeprefix("*"), wire)
            if name == "":
                shown |= value
            elif value not in _UNSET or type_.startswith("*"):  # Go writes its zero values too
                shown[name] = value
    return shown


_UNSET: tuple[Any, ...] = ("", 0, False, {}, None)


def _elements(type_: str, wire: Wire) -> list[Any]:
    if isinstance(wire, bytes) and type_ in ("int", "bool"):  # packed numbers
        return [_value(type_, number) for number in _varints(wire)]
    return [_value(type_, wire)]


def _value(type_: str, wire: Wire) -> Any:
    scalar = _SCALARS.get(type_)
    return scalar(wire) if scalar else _object(type_, _bytes(wire))


def _text(wire: Wire) -> str:
    return _bytes(wire).decode()


def _bytes(wire: Wire) -> bytes:
    if isinstance(wire, int):
        raise TypeError("a number stands where a value with a length is expected")
    return wire


def _number(wire: Wire) -> int:
    if isinstance(wire, bytes):
        wire = next(_varints(wire), 0)
    return wire - (1 << 64) if wire >= 1 << 63 else wire


def _float(wire: Wire) -> float:
    raw: bytes = _number(wire).to_bytes(8, "little", signed=True)
    return float(struct.unpack("<d", raw)[0])


def _time(wire: Wire, *, unit: str = "seconds") -> str | None:
    fields = dict(_fields(_bytes(wire)))
    if not fields:
        return None
    seconds, nanoseconds = _number(fields.get(1, 0)), _number(fields.get(2, 0))
    time = datetime.fromtimestamp(seconds, UTC).replace(microsecond=nanoseconds // 1000)
    return time.isoformat(timespec=unit).replace("+00:00", "Z")


def _duration(wire: Wire) -> str:
    nanoseconds = _number(dict(_fields(_bytes(wire))).get(1, 0))
    return f"{nanoseconds / 1e9:g}s"


def _int_or_string(wire: Wire) -> int | str:
    fields = dict(_fields(_bytes(wire)))
    return _text(fields.get(3, b"")) if _number(fields.get(1, 0)) else _number(fields.get(2, 0))


def _json(wire: Wire) -> Any:
    raw = _bytes(dict(_fields(_bytes(wire))).get(1, b""))
    return json.loads(raw) if raw else {}


_SCALARS: Mapping[str, Callable[[Wire], Any]] = {
    "string": _text,
    "bool": bool,
    "int": _number,
    "float": _float,
    "bytes": lambda wire: base64.b64encode(_bytes(wire)).decode(),
    "strings": lambda wire: [_text(v) for _, v in _fields(_bytes(wire))],
    "time": _time,
    "microtime": functools.partial(_time, unit="microseconds"),
    "duration": _duration,
    "quantity": lambda wire: _text(dict(_fields(_bytes(wire))).get(1, b"0")),
    "intorstring": _int_or_string,
    "json": _json,
}


def _fields(data: bytes) -> Iterator[tuple[int, Wire]]:
    """Field numbers with their values, in order."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        match key & 7:
            case 0:
                value, at = _varint(data, at)
                yield key >> 3, value
            case 1:
                yield key >> 3, int(struct.unpack_from("<Q", data, at)[0])
                at += 8
            case 2:
                length, at = _varint(data, at)
                if at + length > len(data):
                    raise IndexError("a value is longer than the body")
                yield key >> 3, data[at : at + length]
                at += length
            case 5:
                yield key >> 3, int(struct.unpack_from("<I", data, at)[0])
                at += 4
            case wire_type:
                raise IndexError(f"unknown wire type {wire_type}")


def _varints(data: bytes) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value, at, shift = value | (byte & 0x7F) << shift, at + 1, shift + 7
        if not byte & 0x80:
            return value & ((1 << 64) - 1), at

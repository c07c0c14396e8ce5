"""Field types of our resources: how a value is checked and parsed, and how the CRD's schema describes it.

Each type is strict (a number is not a string) and its message says what to write. Values that `units` can parse are
parsed here, once, and are written back as they came.
"""

import ipaddress
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator, StrictBool, StrictInt, StrictStr
from pydantic import WithJsonSchema as Schema
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from howdah.model.units import (
    CPU_PATTERN,
    CRON_PATTERN,
    SIZE_PATTERN,
    WINDOW_PATTERN,
    MaintenanceWindow,
    PgVersion,
    Quantity,
)

TIMESTAMP_PATTERN = (
    r"^([0-9]+)-(0[1-9]|1[012])-(0[1-9]|[12][0-9]|3[01])[Tt]([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9]|60)"
    r"(\.[0-9]+)?(([+-]([01][0-9]|2[0-3]):[0-5][0-9]))$"
)
INSTANT_PATTERN = (
    r"^([0-9]{4}-(0[1-9]|1[012])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
    r"(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])|infinity)$"
)
BUCKET_PATTERN = r"^[A-Za-z0-9][-A-Za-z0-9._]{1,220}[A-Za-z0-9]$"
PREFIX_PATTERN = r"^[A-Za-z0-9_=-][A-Za-z0-9_=.-]*(/[A-Za-z0-9_=-][A-Za-z0-9_=.-]*)*$"
REGION_PATTERN = r"^[A-Za-z0-9][-A-Za-z0-9]*$"
ENDPOINT_PATTERN = r"^https?://[-A-Za-z0-9.:\[\]]+$"
ENCRYPTION_PATTERN = r"^[A-Za-z0-9:_-]+$"
ACCOUNT_PATTERN = r"^[a-z0-9]{3,24}$"
OBJECT_NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
UUID_PATTERN = r"^[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}$"

_FLAGS = ("bypassrls", "createdb", "createrole", "inherit", "login", "replication", "superuser")
USER_FLAGS = tuple(case for flag in _FLAGS for word in (flag, f"no{flag}") for case in (word, word.upper()))


class Part(BaseModel):
    """A part of a resource whose fields are camelCase on the wire; unknown ones are kept."""

    model_config = ConfigDict(alias_generator=to_camel, extra="allow", frozen=True)


class SnakePart(BaseModel):
    """A part whose fields are snake_case on the wire; unknown ones are kept."""

    model_config = ConfigDict(extra="allow", frozen=True)


def problem(sentence: str) -> PydanticCustomError:
    """The error that becomes a Problem; braces in `sentence` mean themselves."""
    return PydanticCustomError("problem", "{sentence}", {"sentence": sentence})


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise problem(f'{value} is not {what}; write "{value}" in quotes')
    return value


def _parsed(parse: Callable[[str], Any], what: str) -> PlainValidator:
    def check(value: Any) -> Any:
        if isinstance(value, Quantity | MaintenanceWindow | PgVersion):
            return value
        text = _text(value, what)
        try:
            return parse(text)
        except ValueError as error:
            raise problem(str(error)) from None

    return PlainValidator(check)


def _matching(pattern: str, what: str, example: str) -> PlainValidator:
    compiled = re.compile(pattern, re.ASCII)

    def check(value: Any) -> str:
        text = _text(value, what)
        if compiled.search(text) is None:
            raise problem(f'"{text}" is not {what}; write {example}')
        return text

    return PlainValidator(check)


def _written(pattern: str, longest: int, message: str) -> Schema:
    """A string with a pattern, which every server can check, and the same as a rule, whose message people can read."""
    rule = {"rule": f"self.matches(r'{pattern}')", "message": message}
    return Schema({"type": "string", "pattern": pattern, "maxLength": longest, "x-kubernetes-validations": [rule]})


def _cpu(text: str) -> Quantity:
    if re.fullmatch(CPU_PATTERN, text, re.ASCII) is None:
        raise ValueError(f'"{text}" is not an amount of CPU; write 500m, 1 or 1.5')
    return Quantity.parse(text)


def _size(text: str) -> Quantity:
    quantity = Quantity.parse(text)
    if re.fullmatch(SIZE_PATTERN, text, re.ASCII) is None:
        raise ValueError(f'"{text}" is not a size; write 10G or 10Gi')
    return quantity


_AS_WRITTEN = PlainSerializer(lambda value: value.written, return_type=str)

Cpu = Annotated[
    Quantity,
    _parsed(_cpu, "an amount of CPU"),
    _AS_WRITTEN,
    _written(CPU_PATTERN, 32, "is not an amount of CPU; write 500m, 1 or 1.5"),
]
Size = Annotated[
    Quantity,
    _parsed(_size, "a size"),
    _AS_WRITTEN,
    _written(SIZE_PATTERN, 32, "is not a quantity; write 10G or 10Gi"),
]
Version = Annotated[
    PgVersion,
    _parsed(PgVersion.parse, "a major version"),
    PlainSerializer(str, return_type=str),
    _written(r"^[1-9]\d{0,3}$", 4, 'is not a major version; write it as "18"'),
]
Window = Annotated[
    MaintenanceWindow,
    _parsed(MaintenanceWindow.parse, "a maintenance window"),
    _AS_WRITTEN,
    _written(WINDOW_PATTERN, 64, "is not a maintenance window; write Mon:01:00-02:00 or 01:00-02:00, in UTC"),
]
Cron = Annotated[
    str,
    _matching(CRON_PATTERN, "a cron schedule", "five fields, such as 30 00 * * *"),
    _written(CRON_PATTERN, 128, "is not a cron schedule; write five fields, such as 30 00 * * *"),
]
Timestamp = Annotated[
    str,
    _matching(
        TIMESTAMP_PATTERN,
        "a time with a numeric offset",
        "2026-11-23T12:40:33+00:00 (with +00:00, not Z)",
    ),
    _written(TIMESTAMP_PATTERN, 64, "write a time with a numeric offset: 2026-11-23T12:40:33+00:00"),
]
Instant = Annotated[
    str,
    _matching(INSTANT_PATTERN, "a time", "2027-01-31T12:00:00Z, or infinity"),
    _written(INSTANT_PATTERN, 32, "write a time, such as 2027-01-31T12:00:00Z, or infinity"),
]
Uuid = Annotated[
    str,
    _matching(UUID_PATTERN, "a UUID", "efd12e58-5786-11e8-b5a7-06148230260c"),
    _written(UUID_PATTERN, 36, "write a UUID: efd12e58-5786-11e8-b5a7-06148230260c"),
]
UserFlag = Annotated[
    str,
    _matching(
        rf"^({'|'.join(USER_FLAGS)})$",
        "a role flag",
        f"one of {', '.join(_FLAGS)}, or one of these with no in front, all in one case",
    ),
    Schema({"type": "string", "enum": list(USER_FLAGS)}),
]


def _source_range(value: Any) -> str:
    text = _text(value, "a network")
    try:
        if "/" not in text:
            raise ValueError
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise problem(f'"{text}" is not a network; write an address with its length, such as 10.0.0.0/8') from None
    return text


_IPV4_PATTERN = r"((\d|[1-9]\d|1\d\d|2[0-4]\d|25[0-5])(\.(\d|[1-9]\d|1\d\d|2[0-4]\d|25[0-5])){3}/(\d|[12]\d|3[0-2]))"
_IPV6_PATTERN = r"([0-9a-fA-F:.]*:[0-9a-fA-F:.]*/(\d|[1-9]\d|1[01]\d|12[0-8]))"
SourceRange = Annotated[
    str,
    PlainValidator(_source_range),
    _written(f"^({_IPV4_PATTERN}|{_IPV6_PATTERN})$", 64, "write an address with its length, such as 10.0.0.0/8"),
]

Text = StrictStr
Bool = StrictBool
Count = Annotated[StrictInt, Field(ge=0, le=2**31 - 1)]
Uint32 = Annotated[StrictInt, Field(ge=0, le=2**32 - 1)]
Id = Annotated[StrictInt, Field(ge=0, le=2**63 - 1)]
NodePort = Annotated[StrictInt, Field(ge=0, le=65535)]
Texts = tuple[Text, ...]
TextMap = dict[str, Text]
Opaque = dict[str, Any]
"""An object of Kubernetes' own types, passed on as it is."""


def _having(*required: str, texts: tuple[str, ...] = (), integers: tuple[str, ...] = ()) -> PlainValidator:
    def check(value: Any) -> Opaque:
        if not isinstance(value, dict):
            raise problem(f"{value} is not an object; write key: value lines")
        for name in required:
            if value.get(name) in (None, ""):
                raise problem(f"has no {name}; add it")
        for name in texts:
            if not isinstance(value.get(name, ""), str | None):
                raise problem(f'has a {name} that is not a string; write it in quotes: "{value[name]}"')
        for name in integers:
            if not isinstance(value.get(name, 0), int | None) or isinstance(value.get(name), bool):
                raise problem(f"has a {name} that is not an integer; write digits without quotes")
        return value

    return PlainValidator(check)


def _opaque(required: tuple[str, ...], properties: dict[str, str]) -> Schema:
    return Schema(
        {
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": True,
            "properties": {name: {"type": kind} for name, kind in properties.items()},
            **({"required": list(required)} if required else {}),
        }
    )


EnvVar = Annotated[
    Opaque,
    _having("name", texts=("name", "value")),
    _opaque(("name",), {"name": "string", "value": "string"}),
]
Container = Annotated[
    Opaque,
    _having("name", texts=("name", "image")),
    _opaque(("name",), {"name": "string", "image": "string"}),
]
Port = Annotated[
    Opaque,
    _having("containerPort", texts=("name", "protocol"), integers=("containerPort",)),
    _opaque(("containerPort",), {"containerPort": "integer", "name": "string", "protocol": "string"}),
]
Toleration = Annotated[
    Opaque,
    _having(texts=("key", "operator", "value", "effect")),
    _opaque((), {"key": "string", "operator": "string", "value": "string", "effect": "string"}),
]
SpreadConstraint = Annotated[
    Opaque,
    _having(
        "maxSkew",
        "topologyKey",
        "whenUnsatisfiable",
        texts=("topologyKey", "whenUnsatisfiable"),
        integers=("maxSkew",),
    ),
    _opaque(
        ("maxSkew", "topologyKey", "whenUnsatisfiable"),
        {"maxSkew": "integer", "topologyKey": "string", "whenUnsatisfiable": "string"},
    ),
]
Bucket = Annotated[
    str,
    _matching(BUCKET_PATTERN, "the name of a bucket", "one such as team-backups"),
    _written(BUCKET_PATTERN, 222, "is not the name of a bucket; write one such as team-backups"),
]
ObjectPrefix = Annotated[
    str,
    _matching(PREFIX_PATTERN, "a folder in a bucket", "one such as postgres/team-a"),
    _written(PREFIX_PATTERN, 512, "is not a folder in a bucket; write one such as postgres/team-a"),
]
Region = Annotated[
    str,
    _matching(REGION_PATTERN, "a region", "one such as eu-central-1"),
    _written(REGION_PATTERN, 64, "is not a region; write one such as eu-central-1"),
]
Endpoint = Annotated[
    str,
    _matching(ENDPOINT_PATTERN, "the address of a store", "one such as https://minio.example.com:9000"),
    _written(ENDPOINT_PATTERN, 512, "is not the address of a store; write one such as https://minio.example.com:9000"),
]
Encryption = Annotated[
    str,
    _matching(ENCRYPTION_PATTERN, "a server-side encryption", "AES256 or aws:kms"),
    _written(ENCRYPTION_PATTERN, 64, "is not a server-side encryption; write AES256 or aws:kms"),
]
StorageAccount = Annotated[
    str,
    _matching(ACCOUNT_PATTERN, "a storage account", "3 to 24 lower-case letters and digits"),
    _written(ACCOUNT_PATTERN, 24, "is not a storage account; write 3 to 24 lower-case letters and digits"),
]
SecretName = Annotated[
    str,
    _matching(OBJECT_NAME_PATTERN, "the name of a Secret", "lower-case letters, digits, - and ."),
    _written(OBJECT_NAME_PATTERN, 253, "is not the name of a Secret; write lower-case letters, digits, - and ."),
]
StoreProvider = Literal["s3", "gcs", "az"]
ConnectionLimit = Annotated[StrictInt, Field(ge=-1, le=2**31 - 1)]
UserRemoval = Literal["retain", "drop", "reassign"]
PoolMode = Literal["session", "transaction"]

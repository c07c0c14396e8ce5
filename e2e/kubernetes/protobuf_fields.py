"""Writes the field numbers of the built-in kinds, read from the tags of Kubernetes' Go types, as JSON to stdout.

usage: python protobuf_fields.py > ../../src/howdah/local/apiserver/protobuf_fields.json      needs Go, for the module cache

`{"core.Pod": {"1": ["metadata", "meta.ObjectMeta"], …}}`. A type is `*T` where absent differs from zero, `[]T`, `{}T`
(a map by string), one of the scalars of SCALARS, or a message; the name "" is a message whose fields belong to its owner.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

GROUPS = "core apps batch policy rbac coordination discovery events storage scheduling authorization authentication autoscaling"
SCALARS: Mapping[str, str] = {
    "string": "string",
    "bool": "bool",
    "byte": "byte",
    "int32": "int",
    "int64": "int",
    "float64": "float",
    "meta.Time": "time",
    "meta.MicroTime": "microtime",
    "meta.Duration": "duration",
    "meta.FieldsV1": "json",
    "runtime.RawExtension": "json",
    "resource.Quantity": "quantity",
    "intstr.IntOrString": "intorstring",
    "types.UID": "string",
    "types.NodeName": "string",
    "authorization.ExtraValue": "strings",
    "authentication.ExtraValue": "strings",
}
STRUCT = re.compile(r"^type (\w+) struct \{\n(.*?)^\}", re.M | re.S)
ALIAS = re.compile(r"^type (\w+) (?!struct|interface)=? ?([\w.\[\]*]+)$", re.M)
FIELD = re.compile(r'^\t(?:(\w+)\s+)?(\S+)\s+`.*?json:"([^",]*)([^"]*)".*?protobuf:"\w+,(\d+),', re.M)
IMPORT = re.compile(
    r'^\t?(?:import )?(?:(\w+) )?"k8s\.io/(?:api|apimachinery/pkg|apimachinery/pkg/apis)/([\w/]+)"', re.M
)

Message = dict[str, list[str]]


def main() -> None:
    messages: dict[str, Message] = {}
    aliases: dict[str, str] = {}
    for package, file in _sources():
        text = file.read_text()
        imports = dict(_imports(text)) | {"": package}
        aliases |= {f"{package}.{n}": _qualified(t, imports) for n, t in ALIAS.findall(text)}
        messages |= {f"{package}.{n}": _message(body, imports) for n, body in STRUCT.findall(text)}
    resolved = {
        name: {number: [field, _resolved(go, aliases)] for number, (field, go) in fields.items()}
        for name, fields in messages.items()
        if fields and name not in SCALARS
    }
    unknown = {t.lstrip("*[]{}") for fields in resolved.values() for _, t in fields.values()}
    unknown -= resolved.keys() | set(SCALARS.values()) | {"bytes"}
    fields = {n: m for n, m in resolved.items() if not {t.lstrip("*[]{}") for _, t in m.values()} & unknown}
    json.dump(fields, sys.stdout, sort_keys=True, separators=(",", ":"), indent=0)


def _sources() -> Iterator[tuple[str, Path]]:
    for group in GROUPS.split():
        yield group, _module("k8s.io/api") / group / "v1" / "types.go"
    yield "meta", _module("k8s.io/apimachinery") / "pkg/apis/meta/v1/types.go"


def _module(name: str) -> Path:
    found = subprocess.run(
        ["go", "list", "-m", "-f", "{{.Dir}}", name],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return Path(found.stdout.strip())


def _imports(text: str) -> Iterator[tuple[str, str]]:
    """Alias in the file → our name of the package: the last part of its path that is no version."""
    for alias, path in IMPORT.findall(text):
        parts = [p for p in path.split("/") if not re.fullmatch(r"v\d\w*", p)]
        yield alias or path.split("/")[-1], parts[-1]


def _message(body: str, imports: Mapping[str, str]) -> Message:
    found = {}
    for _, go, name, options, number in FIELD.findall(body):
        found[number] = ["" if "inline" in options else name, _qualified(go, imports)]
    return found


def _qualified(go: str, imports: Mapping[str, str]) -> str:
    """A Go type in our notation, its names with their package."""
    if map_ := re.fullmatch(r"map\[[\w.]+\](.+)", go):
        return "{}" + _qualified(map_[1], imports)
    for prefix in ("*", "[]"):
        if go.startswith(prefix):
            return prefix + _qualified(go.removeprefix(prefix), imports)
    if go in SCALARS:
        return go
    package, _, name = go.rpartition(".")
    return f"{imports.get(package, package)}.{name}"


def _resolved(go: str, aliases: Mapping[str, str]) -> str:
    """The same with aliases followed and scalars in our words."""
    marks = re.match(r"(\*|\[\]|\{\})*", go)
    prefix = marks[0] if marks else ""
    name = go.removeprefix(prefix)
    if name in SCALARS:
        return (prefix + SCALARS[name]).replace("[]byte", "bytes")
    return _resolved(prefix + aliases[name], aliases) if name in aliases else go


main()

"""The syntax of names, labels and the like, with the sentences of the real server for what is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from .errors import FieldError, invalid

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_QUALIFIED = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = rf"({_QUALIFIED})?"
_ENV = r"[ -<>-~]+"

_LABEL_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    f"with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{_LABEL}')"
)
_SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    f"and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{_SUBDOMAIN}')"
)
_QUALIFIED_TEXT = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    f"'{_QUALIFIED}')"
)
_VALUE_TEXT = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation "
    "is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)


def _matches(pattern: str, max_bytes: int, text: str) -> Callable[[str], list[str]]:
    compiled = re.compile(pattern)

    def problems(value: str) -> list[str]:
        found = [] if len(value.encode()) <= max_bytes else [f"must be no more than {max_bytes} bytes"]
        return found if compiled.fullmatch(value) else [*found, text]

    return problems


label_problems = _matches(_LABEL, 63, _LABEL_TEXT)
subdomain_problems = _matches(_SUBDOMAIN, 253, _SUBDOMAIN_TEXT)
value_problems = _matches(_VALUE, 63, _VALUE_TEXT)


def path_problems(value: str) -> list[str]:
    """Names that need only be one segment of a path (roles and bindings)."""
    if value in (".", ".."):
        return [f"may not be '{value}'"]
    return [f"may not contain '{part}'" for part in "/%" if part in value]


def qualified_problems(value: str) -> list[str]:
    """Keys of labels and annotations: an optional prefix and a name."""
    prefix, slash, name = value.rpartition("/")
    found = []
    if slash:
        if not prefix:
            found.append("prefix part must be non-empty")
        else:
            found += [f"prefix part {problem}" for problem in subdomain_problems(prefix)]
    if not name:
        found.append("name part must be non-empty")
    elif len(name) > 63:
        found.append("name part must be no more than 63 bytes")
    if not re.fullmatch(_QUALIFIED, name):
        found.append(_QUALIFIED_TEXT)
    return found


def label_errors(labels: Mapping[str, Any] | None, field: str) -> list[FieldError]:
    """What is wrong with labels."""
    found = []
    for key, value in (labels or {}).items():
        found += [invalid(field, key, problem) for problem in qualified_problems(key)]
        found += [invalid(field, value, problem) for problem in value_problems(value)]
    return found


def annotation_errors(annotations: Mapping[str, str] | None, field: str) -> list[FieldError]:
    """What is wrong with annotations: their keys, and a total of more than 256 KiB."""
    found = []
    for key in annotations or {}:
        found += [invalid(field, key, problem) for problem in qualified_problems(key.lower())]
    size = sum(len(key.encode()) + len(value.encode()) for key, value in (annotations or {}).items())
    if size > 256 * 1024:
        found.append(FieldError(field, "TooLong", "Too long: may not be more than 262144 bytes"))
    return found


def env_name_problems(name: str) -> list[str]:
    if not re.fullmatch(_ENV, name):
        return ["a valid environment variable name must consist only of printable ASCII characters other than '='"]
    return []


_CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]+")


def config_key_problems(key: str) -> list[str]:
    """Keys of ConfigMaps and Secrets."""
    found = []
    if len(key) > 253:
        found.append("must be no more than 253 characters")
    if not _CONFIG_KEY.fullmatch(key):
        found.append(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or "
            "'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
        )
    return found

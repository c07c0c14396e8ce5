"""Two normalised answers → what differs between them, each difference with its weight."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from differential.client import Answer

# Heaviest first: what a client acts on, then what it stores, then what a person reads.
WEIGHTS = ("code", "reason", "body", "managedFields", "header", "message")
ABSENT = "<absent>"


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where two answers differ. `path` is dotted, list positions as numbers."""

    weight: str
    path: str
    real: Any
    ours: Any


def differences(real: Answer, ours: Answer) -> tuple[Difference, ...]:
    """Everything that differs; where the status codes do, only that, with both bodies in short."""
    if real.code != ours.code:
        return (Difference("code", "code", _told(real), _told(ours)),)
    found = list(_walk("", real.body, ours.body))
    if real.content_type != ours.content_type:
        found.append(Difference("header", "Content-Type", real.content_type, ours.content_type))
    if real.warnings != ours.warnings:
        found.append(Difference("header", "Warning", list(real.warnings), list(ours.warnings)))
    return tuple(found)


def _told(answer: Answer) -> str:
    body = answer.body
    if isinstance(body, dict) and body.get("kind") == "Status":
        return f"{answer.code} {body.get('reason', '')}: {body.get('message', '')}"
    return str(answer.code) if answer.code < 400 else f"{answer.code} {str(body)[:200]}"


def _walk(path: str, real: Any, ours: Any) -> Iterator[Difference]:
    if isinstance(real, dict) and isinstance(ours, dict):
        for key in sorted(real.keys() | ours.keys()):
            yield from _walk(f"{path}.{key}".lstrip("."), real.get(key, ABSENT), ours.get(key, ABSENT))
    elif isinstance(real, list) and isinstance(ours, list) and len(real) == len(ours):
        for i, (a, b) in enumerate(zip(real, ours, strict=True)):
            yield from _walk(f"{path}.{i}".lstrip("."), a, b)
    elif type(real) is not type(ours) or real != ours:
        yield Difference(_weight(path), path, real, ours)


def _weight(path: str) -> str:
    parts = path.split(".")
    if "managedFields" in parts:
        return "managedFields"
    if parts[-1] in ("message", "causes") or "causes" in parts:
        return "message"
    return "reason" if path in ("reason", "code", "status") else "body"

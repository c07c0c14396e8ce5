"""Failures as the API says them: a Status body with code, reason, details and causes.

Wording and reasons are those of the real API server, as clients match on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .objects import Obj, encode


@dataclass(frozen=True, slots=True)
class FieldError:
    """One invalid field: `kind` is the suffix of the cause's reason, `text` what follows the field's path."""

    field: str
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.field}: {self.text}" if self.field else self.text

    def cause(self) -> Obj:
        return {"reason": f"FieldValue{self.kind}", "message": self.text, "field": self.field or "<nil>"}


def shown(value: Any) -> str:
    """A bad value as the real server prints it inside a message."""
    if value is None:
        return "null"
    return encode(value).decode()


def required(field: str, detail: str = "") -> FieldError:
    return FieldError(field, "Required", "Required value" + (f": {detail}" if detail else ""))


def invalid(field: str, value: Any, detail: str) -> FieldError:
    return FieldError(field, "Invalid", f"Invalid value: {shown(value)}: {detail}")


def wrong_type(field: str, found: str, expected: str) -> FieldError:
    """A value of the wrong JSON type in a custom resource."""
    place = field or "<nil>"
    detail = f'{place} in body must be of type {expected}: "{found}"'
    return FieldError(field, "TypeInvalid", f'Invalid value: "{found}": {detail}')


def unsupported(field: str, value: Any, supported: Sequence[str]) -> FieldError:
    choices = ", ".join(f'"{choice}"' for choice in supported)
    return FieldError(field, "NotSupported", f"Unsupported value: {shown(value)}: supported values: {choices}")


def duplicate(field: str, value: Any) -> FieldError:
    return FieldError(field, "Duplicate", f"Duplicate value: {shown(value)}")


def field_forbidden(field: str, detail: str) -> FieldError:
    return FieldError(field, "Forbidden", f"Forbidden: {detail}")


def field_not_found(field: str, value: Any) -> FieldError:
    return FieldError(field, "NotFound", f"Not found: {shown(value)}")


class ApiError(Exception):
    """An answer that is a failure; `body` is its Status."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        details: Obj | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.headers = headers or {}

    @property
    def body(self) -> Obj:
        status: Obj = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            status["reason"] = self.reason
        if self.details is not None:
            status["details"] = self.details
        status["code"] = self.code
        return status


@dataclass(frozen=True, slots=True)
class Subject:
    """What a failure is about: a resource (`pods`) of a group, and the kind that its objects have."""

    group: str
    resource: str
    kind: str

    @property
    def qualified(self) -> str:
        return f"{self.resource}.{self.group}" if self.group else self.resource

    @property
    def qualified_kind(self) -> str:
        return f"{self.kind}.{self.group}" if self.group else self.kind

    def details(self, name: str, *, kind: str | None = None) -> Obj:
        found = {"name": name, "group": self.group, "kind": kind or self.resource}
        return {key: value for key, value in found.items() if value}


def not_found(subject: Subject, name: str) -> ApiError:
    message = f'{subject.qualified} "{name}" not found'
    return ApiError(404, "NotFound", message, details=subject.details(name))


def already_exists(subject: Subject, name: str) -> ApiError:
    message = f'{subject.qualified} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, details=subject.details(name))


MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def conflict(subject: Subject, name: str, why: str = MODIFIED) -> ApiError:
    message = f'Operation cannot be fulfilled on {subject.qualified} "{name}": {why}'
    return ApiError(409, "Conflict", message, details=subject.details(name))


def invalid_object(subject: Subject, name: str, errors: Sequence[FieldError]) -> ApiError:
    """422 with every error as a cause."""
    unique = list(dict.fromkeys(errors))
    texts = [str(error) for error in unique]
    said = texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"
    details = subject.details(name, kind=subject.kind)
    details["causes"] = [error.cause() for error in unique]
    message = f'{subject.qualified_kind} "{name}" is invalid: {said}'
    return ApiError(422, "Invalid", message, details=details)


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def forbidden(subject: Subject, name: str, why: str, *, causes: list[Obj] | None = None) -> ApiError:
    details = subject.details(name)
    if causes:
        details["causes"] = causes
    return ApiError(403, "Forbidden", f'{subject.qualified} "{name}" is forbidden: {why}', details=details)


def expired(message: str) -> ApiError:
    return ApiError(410, "Expired", message)


def unauthorized() -> ApiError:
    return ApiError(401, "Unauthorized", "Unauthorized")


def method_not_allowed() -> ApiError:
    return ApiError(
        405, "MethodNotAllowed", "the server does not allow this method on the requested resource", details={}
    )


def method_not_supported(subject: Subject, verb: str) -> ApiError:
    """405 for a verb that custom resources do not have where built-in kinds would."""
    message = f'{verb} is not supported on resources of kind "{subject.qualified}"'
    return ApiError(405, "MethodNotAllowed", message, details=subject.details(""))


def resource_not_found() -> ApiError:
    return ApiError(404, "NotFound", "the server could not find the requested resource", details={})


def unsupported_media_type(accepted: Sequence[str]) -> ApiError:
    kinds = ", ".join(accepted)
    message = f"the body of the request was in an unknown format - accepted media types include: {kinds}"
    return ApiError(415, "UnsupportedMediaType", message)


def unavailable(message: str) -> ApiError:
    return ApiError(503, "ServiceUnavailable", message)

"""What a call to the API can end in, as types: callers catch what they can handle, by meaning and not by number.

Texts never hold a credential: no headers, no bodies of requests, and of Secrets not even the server's own sentence
where it may quote a value.
"""
# ruff: noqa: N818 - named as the API names them

from __future__ import annotations

from typing import Any

import msgspec

UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)
"""What decoding JSON from outside ends in where it cannot be read. The last of them tells of parts that are nested about as
deep as the interpreter's stack: a decoder gives up on these also where it only skips them."""


class KubeError(Exception):
    """Every failure of this library's calls."""

    transient = False
    """Whether the same call may well succeed later without anybody changing anything."""


class Unreachable(KubeError):
    """No answer: connection refused or cut, TLS refused, or the call's time was up. The call may have had its effect."""

    transient = True


class Malformed(KubeError):
    """An answer that does not fit the type which the caller asked for."""


class CredentialError(KubeError):
    """Credentials cannot be found, read or made; the text names file and field, never the value."""


class ApiError(KubeError):
    """The server's refusal. `reason` is its machine-readable word (`NotFound`, `Conflict`, …)."""

    def __init__(
        self,
        what: str,
        *,
        status: int,
        reason: str = "",
        message: str = "",
        details: dict[str, Any] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(f"{what}: {status} {reason}: {message}".rstrip(": "))
        self.what = what
        self.status = status
        self.reason = reason
        self.message = message
        self.details = details or {}
        self.retry_after_s = retry_after_s


class Unauthorized(ApiError):
    """401: the server does not know who asks."""


class Forbidden(ApiError):
    """403: known, but not allowed; also a namespace that is going away, or a quota."""


class NotFound(ApiError):
    """404: no such object, or no such resource."""


class Conflict(ApiError):
    """409: another writer was first, a precondition does not hold, or another manager owns a field.

    Also the 422 by which the server refuses a patch whose `metadata.uid` is not the live one.
    """


class AlreadyExists(Conflict):
    """409 on create: the name is taken."""


class Gone(ApiError):
    """410: this resourceVersion or continue token is too old; list anew."""


class Invalid(ApiError):
    """422: the object breaks its schema or rules; `details["causes"]` has one entry per field."""


class TooManyRequests(ApiError):
    """429: come back after `retry_after_s`."""

    transient = True


class ServerUnavailable(ApiError):
    """5xx: the server, its storage or a webhook fails. The call may have had its effect."""

    transient = True


_BY_STATUS: dict[int, type[ApiError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Invalid,
    429: TooManyRequests,
}
_BY_REASON: dict[str, type[ApiError]] = {"AlreadyExists": AlreadyExists, "Expired": Gone, "Gone": Gone}


class _Status(msgspec.Struct):
    status: str | None = None
    reason: str | None = None
    message: str | None = None
    code: int | None = None
    details: dict[str, Any] | None = None


_STATUS = msgspec.json.Decoder(_Status)


def api_error(
    what: str, status: int, body: bytes, *, retry_after_s: float | None = None, withhold: bool = False
) -> ApiError:
    """The error for an answer; `body` is a `Status` object where the API server spoke, anything where a proxy did.

    `withhold` leaves the server's sentence out of errors about the content that was sent.
    """
    try:
        said = _STATUS.decode(body)
    except UNREADABLE:
        said = _Status(message=body[:200].decode(errors="replace").strip())
    reason, message, details = said.reason or "", said.message or "", said.details or {}
    kind = _kind(status, reason, details)
    if withhold and status in {400, 422}:
        fields = ", ".join(str(cause.get("field")) for cause in details.get("causes") or ()) or "the content"
        message, details = f"the server refuses {fields}; its text is withheld, it may quote a secret value", {}
    seconds = details.get("retryAfterSeconds")
    if retry_after_s is None and isinstance(seconds, int) and seconds > 0:
        retry_after_s = float(seconds)
    return kind(what, status=status, reason=reason, message=message, details=details, retry_after_s=retry_after_s)


def _kind(status: int, reason: str, details: dict[str, Any]) -> type[ApiError]:
    causes = details.get("causes") or ()
    if status == 422 and any(cause.get("field") == "metadata.uid" for cause in causes):
        return Conflict  # a patch for an object that was replaced: a lost race, where 422 sounds like a wrong intent
    found = _BY_REASON.get(reason) or _BY_STATUS.get(status)
    return found or (ServerUnavailable if status >= 500 else ApiError)


def status_code(body: bytes) -> int:
    """The HTTP code that a `Status` object stands for; 500 where it names none."""
    try:
        return _STATUS.decode(body).code or 500
    except UNREADABLE:
        return 500

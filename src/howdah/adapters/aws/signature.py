"""AWS Signature Version 4 of a POST without a query: the headers that prove who asks. Pure; the time is an argument.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request is signed with. `token` belongs to temporary ones, which end at `expires`."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    token: str = field(default="", repr=False)
    expires: dt.datetime | None = None


def signed_headers(
    credentials: Credentials, *, service: str, region: str, host: str, content: tuple[str, bytes], now: dt.datetime
) -> dict[str, str]:
    """All headers of `POST /` to `host`; `content` is the body with its type before it."""
    kind, body = content
    stamp = now.astimezone(dt.UTC).strftime("%Y%m%dT%H%M%SZ")
    headers = {"content-type": kind, "host": host, "x-amz-date": stamp}
    if credentials.token:
        headers["x-amz-security-token"] = credentials.token
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    request = _canonical(headers, hashlib.sha256(body).hexdigest())
    text = "\n".join((ALGORITHM, stamp, scope, hashlib.sha256(request.encode()).hexdigest()))
    key = _key(credentials.secret_access_key, stamp[:8], region, service)
    proof = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    who = f"Credential={credentials.access_key_id}/{scope}"
    said = f"{ALGORITHM} {who}, SignedHeaders={';'.join(sorted(headers))}, Signature={proof}"
    return {**headers, "authorization": said}


def _canonical(headers: Mapping[str, str], body_sha256: str) -> str:
    names = sorted(headers)
    lines = "".join(f"{name}:{headers[name].strip()}\n" for name in names)
    return "\n".join(("POST", "/", "", lines, ";".join(names), body_sha256))


def _key(secret: str, *parts: str) -> bytes:
    """Of one day, region and service."""
    key = f"AWS4{secret}".encode()
    for part in (*parts, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key

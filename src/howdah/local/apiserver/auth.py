"""Who is asking: a client certificate of our authority, or a token of a service account.

Whoever is known may do everything: the server is one person's, on one machine. Access reviews say so.
Tokens are signed (HMAC) with a key of the server directory, so they outlive a restart; they die with their
ServiceAccount.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from howdah.local.files import write_whole

from .objects import Obj, decode, encode
from .store import Store

ISSUER = "https://kubernetes.default.svc.cluster.local"
DEFAULT_LIFE_S = 3600
MIN_LIFE_S = 600


@dataclass(frozen=True, slots=True)
class User:
    """An authenticated caller."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def info(self) -> Obj:
        """UserInfo, as reviews answer it."""
        found: Obj = {"username": self.name, "groups": list(self.groups)}
        if self.uid:
            found["uid"] = self.uid
        if self.extra:
            found["extra"] = {key: list(values) for key, values in self.extra.items()}
        return found


def certificate_user(certificate: Mapping[str, Any] | None) -> User | None:
    """The user of a verified client certificate: CN is the name, O are the groups."""
    if not certificate:
        return None
    parts = [pair for relative in certificate.get("subject", ()) for pair in relative]
    names = [value for key, value in parts if key == "commonName"]
    groups = tuple(value for key, value in parts if key == "organizationName")
    return User(names[0], (*groups, "system:authenticated")) if names else None


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _data(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Tokens:
    """Makes and checks tokens of service accounts."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    def from_file(cls, path: Path) -> Tokens:
        """With the key of a file, which is made where it is missing."""
        if not path.exists():
            write_whole(path, secrets.token_bytes(32))
        return cls(path.read_bytes())

    def issue(self, account: Obj, life_s: int, audiences: list[str], bound: Obj | None = None) -> tuple[str, int]:
        """A token for a ServiceAccount, and when it expires (seconds since the epoch)."""
        metadata = account["metadata"]
        now = int(time.time())
        name, namespace = metadata["name"], metadata["namespace"]
        kubernetes: Obj = {"namespace": namespace, "serviceaccount": {"name": name, "uid": metadata["uid"]}}
        if bound:
            kubernetes[bound["kind"].lower()] = {"name": bound["name"], "uid": bound.get("uid", "")}
        claims = {
            "aud": audiences or [ISSUER],
            "exp": now + life_s,
            "iat": now,
            "nbf": now,
            "iss": ISSUER,
            "jti": secrets.token_hex(8),
            "kubernetes.io": kubernetes,
            "sub": f"system:serviceaccount:{namespace}:{name}",
        }
        signed = _text(encode({"alg": "HS256", "typ": "JWT"})) + "." + _text(encode(claims))
        return f"{signed}.{_text(self._signature(signed))}", now + life_s

    def _signature(self, signed: str) -> bytes:
        return hmac.new(self._key, signed.encode(), hashlib.sha256).digest()

    def user(self, token: str, store: Store) -> User | None:
        """The user of a valid token whose account still exists."""
        signed, _, signature = token.rpartition(".")
        try:
            if not hmac.compare_digest(_data(signature), self._signature(signed)):
                return None
            claims = decode(_data(signed.partition(".")[2]))
        except ValueError:
            return None
        kubernetes = claims["kubernetes.io"]
        namespace, account = kubernetes["namespace"], kubernetes["serviceaccount"]
        live = store.get("serviceaccounts", namespace, account["name"])
        if claims["exp"] < time.time() or live is None or live["metadata"]["uid"] != account["uid"]:
            return None
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
        return User(claims["sub"], groups, account["uid"])

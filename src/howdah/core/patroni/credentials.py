"""Who may command a member's Patroni: a user and a password that both sides derive from the superuser's Secret.

The superuser's password itself is never sent. A Patroni without authentication ignores what it is sent.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field

MESSAGE = b"patroni-restapi"


@dataclass(frozen=True, slots=True)
class RestCredentials:
    """Basic authentication of Patroni's REST API."""

    username: str
    password: str = field(repr=False)


def derived_credentials(superuser: str, superuser_password: str) -> RestCredentials:
    """User = the superuser's name; password = hex HMAC-SHA256(key = its password, message = `patroni-restapi`)."""
    digest = hmac.new(superuser_password.encode(), MESSAGE, hashlib.sha256).hexdigest()
    return RestCredentials(superuser, digest)

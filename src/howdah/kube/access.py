"""One API server as one user: the nouns. Who makes them is `credentials.py`."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Proof:
    """What one request shows: a bearer token, a TLS context (with the client certificate, if any), both or neither."""

    token: str = field(default="", repr=False)
    tls: ssl.SSLContext | None = None


class Credentials(Protocol):
    """A source of proofs. Safe to share between threads and event loops."""

    async def proof(self) -> Proof:
        """The proof that is valid now; raises CredentialError."""

    def reject(self) -> None:
        """The server answered 401: nothing cached is to be used again."""


@dataclass(frozen=True, slots=True)
class Access:
    """What a Client needs."""

    server: str
    """URL without a slash at its end."""
    namespace: str
    """Where commands work if nothing else is said."""
    credentials: Credentials = field(repr=False)
    server_name: str | None = None
    """The name to expect in the server's certificate, where it is not the URL's."""
    headers: tuple[tuple[str, str], ...] = ()
    """Of every request: as whom it is to be judged. A name may come more than once."""
    proxy: str | None = field(default=None, repr=False)
    """URL of an HTTP proxy by which the server is reached; it may hold a password."""

"""The bearer token of the teams API, from its Secret."""

from __future__ import annotations

from howdah.adapters.kubernetes import read_secret
from howdah.adapters.teams import SYSTEM
from howdah.controller.sources import Sources
from howdah.core.request.asked import Reference
from howdah.kube.client import Client
from howdah.model.errors import ExternalError

TYPE_KEY = "read-only-token-type"
TOKEN_KEY = "read-only-token-secret"  # noqa: S105  # the name of a key


class Token:
    """Read again when its Secret has another version; held until then, and shown to nobody.

    Without `sources`, for one who asks once, it is read once.
    """

    def __init__(
        self, client: Client, operator_namespace: str, reference: Reference | None, sources: Sources | None
    ) -> None:
        self._client = client
        self._operator_namespace = operator_namespace
        self._reference = reference
        self._sources = sources
        self._known: tuple[str, str] | None = None

    async def __call__(self) -> str:
        """Raises ExternalError where there is no usable one, and KubeError."""
        if self._reference is None:
            raise ExternalError(
                SYSTEM, transient=False, message="oauth_token_secret_name names no Secret with its token"
            )
        version = self._sources.version(self._reference) if self._sources is not None else ""
        if version is None:
            raise _missing(self._reference)
        if self._known is None or self._known[0] != version:
            self._known = (version, await self._read(self._reference))
        return self._known[1]

    async def _read(self, reference: Reference) -> str:
        namespace = reference.namespaces[0] or self._operator_namespace
        data = await read_secret(self._client, namespace, reference.name)
        if data is None:
            raise _missing(reference)
        kind, token = (data.get(key, b"").decode(errors="replace").strip() for key in (TYPE_KEY, TOKEN_KEY))
        if kind != "Bearer" or not token.isascii() or not token.isprintable() or not token:
            message = f"{reference} holds no token: {TYPE_KEY} has to be Bearer, and {TOKEN_KEY} the token"
            raise ExternalError(SYSTEM, transient=False, message=message)
        return token


def _missing(reference: Reference) -> ExternalError:
    return ExternalError(SYSTEM, transient=True, message=f"there is no {reference} with its token")

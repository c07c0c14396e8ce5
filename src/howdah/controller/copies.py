"""Passwords that a cluster's Secret repeats from another one: read to be compared or written, and forgotten.

Compared once for each pair of versions: a quiet pass reads nothing.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from howdah.controller.compared import Compared
from howdah.core.request.asked import Reference
from howdah.kube.client import Client
from howdah.kube.errors import KubeError, NotFound
from howdah.kube.informer import Key
from howdah.kube.resources import SECRETS
from howdah.model.cluster import Cluster
from howdah.model.errors import ExternalError
from howdah.model.observed import Observed, SecretMeta
from howdah.model.postgres.desired import PasswordOrigin

Place = tuple[str, str]  # (namespace, name)
VersionOf = Callable[[Reference], str | None]

_log = structlog.get_logger("howdah.copies")


class Copies:
    """`version_of` tells the watched version of a Secret of infrastructure roles; without it everything is read."""

    def __init__(self, client: Client, operator_namespace: str, version_of: VersionOf | None = None) -> None:
        self._client = client
        self._operator_namespace = operator_namespace
        self._version_of = version_of
        self._compared: Compared[bool] = Compared()

    async def outdated(self, cluster: Cluster, observed: Observed) -> frozenset[Place]:
        """The Secrets of infrastructure roles whose password or user is not what it should be."""
        found: set[Place] = set()
        sources: dict[Place, Mapping[str, Any]] = {}
        key = (cluster.key.namespace, cluster.key.name)
        for request in cluster.secrets:
            place = (request.namespace, request.name)
            live = observed.secrets.get(place)
            if request.origin is None or live is None:
                continue
            versions = self._versions(request.origin, live)
            differs = None if versions is None else self._compared.answer(key, place, versions)
            if differs is None:
                try:
                    differs = await self._differs(place, request.username, request.origin, sources)
                except KubeError as error:
                    _log.warning("not compared", namespace=place[0], secret=place[1], error=str(error))
                    continue
                self._compared.remember(key, place, versions, differs)
            if differs:
                found.add(place)
        return frozenset(found)

    def forget(self, key: Key) -> None:
        """The cluster is gone."""
        self._compared.forget(key)

    def _versions(self, origin: PasswordOrigin, live: SecretMeta) -> object | None:
        if self._version_of is None:
            return None
        source = self._version_of(Reference("Secret", origin.secret, (origin.namespace,)))
        return origin, source, live.metadata.uid, live.metadata.resource_version

    async def _differs(
        self, place: Place, username: str, origin: PasswordOrigin, sources: dict[Place, Mapping[str, Any]]
    ) -> bool:
        there = (origin.namespace or self._operator_namespace, origin.secret)
        try:
            if there not in sources:
                sources[there] = await self._client.get(SECRETS, there[1], namespace=there[0])
            copy = await self._client.get(SECRETS, place[1], namespace=place[0])
        except NotFound:
            return False  # nothing to copy, or nothing to copy to: the next look sees it
        wanted = _entry(sources[there], origin.key)
        held = _entry(copy, "password") or b""
        user = _entry(copy, "username") or b""
        return wanted is not None and not (hmac.compare_digest(wanted, held) and user == username.encode())


async def read_password(client: Client, operator_namespace: str, origin: PasswordOrigin) -> bytes:
    """The password at `origin`. Raises ExternalError where there is none."""
    try:
        found = await client.get(SECRETS, origin.secret, namespace=origin.namespace or operator_namespace)
    except NotFound:
        found = {}
    password = _entry(found, origin.key)
    if not password:
        raise ExternalError("kubernetes", transient=True, message=f"there is no {origin}")
    return password


def _entry(secret: Mapping[str, Any], key: str) -> bytes | None:
    try:
        return base64.b64decode((secret.get("data") or {}).get(key) or "", validate=True) or None
    except ValueError:
        return None

"""What the Secrets of roles say: passwords for a moment, and beside them what rotation has to know."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any

from howdah.adapters.postgres import Password
from howdah.core.postgres.rotation import login_of
from howdah.model.cluster import SecretRequest
from howdah.model.postgres.desired import PasswordSource
from howdah.model.postgres.rotation import HeldSecret

RoleSecrets = tuple[tuple[SecretRequest, Mapping[str, Any]], ...]
"""Requests with their Secrets as they are."""


def passwords_in(secrets: RoleSecrets) -> Mapping[PasswordSource, Password]:
    """The passwords by the login that each is of; where a Secret holds none, nobody's password is touched."""
    return {source: password for request, secret in secrets for source, password in _passwords(request, secret)}


def _passwords(request: SecretRequest, secret: Mapping[str, Any]) -> Iterator[tuple[PasswordSource, Password]]:
    held, version = _held(request, secret), f"{secret['metadata']['uid']}:{secret['metadata']['resourceVersion']}"
    for login, key in ((login_of(held), "password"), (held.next_username, "nextPassword")):
        value = _text(secret, key)
        if login and value:
            rotated = "" if login == request.username else login
            yield PasswordSource(request.username, request.namespace, rotated), Password(value, f"{version}:{key}")


def held_secrets(secrets: RoleSecrets) -> tuple[HeldSecret, ...]:
    """What is not secret of those that hold a password."""
    return tuple(_held(request, secret) for request, secret in secrets if _text(secret, "password"))


def _held(request: SecretRequest, secret: Mapping[str, Any]) -> HeldSecret:
    return HeldSecret(
        role=request.username,
        namespace=request.namespace,
        name=request.name,
        uid=secret["metadata"]["uid"],
        resource_version=secret["metadata"]["resourceVersion"],
        username=_text(secret, "username"),
        next_username=_text(secret, "nextUsername") if _text(secret, "nextPassword") else "",
        next_rotation=_text(secret, "nextRotation"),
    )


def _text(secret: Mapping[str, Any], key: str) -> str:
    """Empty where there is none, or nothing that could be text."""
    try:
        return base64.b64decode((secret.get("data") or {}).get(key) or "").decode()
    except ValueError:
        return ""

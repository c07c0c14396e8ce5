"""A pooler's user list: composed from the Secrets of its roles while it is written, and dated when a password changed."""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

from howdah.core.pgbouncer.users import user_list_text
from howdah.core.plan import WriteUserList
from howdah.kube.client import Client, Object
from howdah.kube.errors import NotFound
from howdah.kube.resources import SECRETS
from howdah.model import names
from howdah.model.errors import ExternalError
from howdah.model.names import Names
from howdah.model.postgres.desired import PasswordSource


async def written(client: Client, step: WriteUserList, cluster: Names, now: Callable[[], dt.datetime]) -> Object:
    """The Secret as it is to be, with its data. Raises ExternalError where a password is missing."""
    sources = [await _source(client, cluster, source) for source in step.users]
    text = user_list_text((_text(found, "username"), _text(found, "password")) for found in sources)
    data = base64.b64encode(text.encode()).decode()
    metadata = step.body["metadata"]
    live = await _read(client, metadata["namespace"], metadata["name"]) if step.uid is not None else None
    annotations = {
        **metadata.get("annotations", {}),
        names.USERS_SEEN: names.versions_text(_version(found) for found in sources),
        **_dated(live, data, now),
    }
    return {**step.body, "metadata": {**metadata, "annotations": annotations}, "data": {names.USER_LIST_KEY: data}}


def _dated(live: Object | None, data: str, now: Callable[[], dt.datetime]) -> Mapping[str, str]:
    """The date stays until a password changes again; a new list has none, for its pods come after it."""
    if live is None:
        return {}
    if (live.get("data") or {}).get(names.USER_LIST_KEY) != data:
        return {names.USERS_CHANGED: now().strftime("%Y-%m-%dT%H:%M:%SZ")}
    before = (live["metadata"].get("annotations") or {}).get(names.USERS_CHANGED)
    return {} if before is None else {names.USERS_CHANGED: before}


async def _source(client: Client, cluster: Names, source: PasswordSource) -> Object:
    found = await _read(client, source.namespace, cluster.secret(source.user))
    data = (found or {}).get("data") or {}
    missing = next((key for key in ("username", "password") if not data.get(key)), None)
    if found is None or missing is not None:
        message = f"the Secret of role {source.user} has no {missing}, which the pooler needs"
        raise ExternalError("kubernetes", transient=True, message=message)
    return found


async def _read(client: Client, namespace: str, name: str) -> Object | None:
    try:
        return await client.get(SECRETS, name, namespace=namespace)
    except NotFound:
        return None


def _text(secret: Mapping[str, Any], key: str) -> str:
    return base64.b64decode(secret["data"][key]).decode()


def _version(secret: Mapping[str, Any]) -> tuple[str, str]:
    return secret["metadata"]["uid"], secret["metadata"]["resourceVersion"]

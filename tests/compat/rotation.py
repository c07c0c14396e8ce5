"""What rotation makes of the Secrets that a recorded step left: our decisions, in the notation of the recordings."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from howdah.core.postgres.rotation import DATE, SecretChange, due, rotations
from howdah.core.resolve import roles_and_databases
from howdah.model.cluster import Cluster, SecretRequest
from howdah.model.postgres.catalogue import Catalogue
from howdah.model.postgres.rotation import HeldSecret, Rotation

NOW = dt.datetime(2026, 11, 25, 12, tzinfo=dt.UTC)
Body = Mapping[str, Any]


def rotated(cluster: Cluster, secrets: Mapping[tuple[str, str], Body]) -> dict[tuple[str, str], dict[str, Any]]:
    """The Secrets of the cluster's roles, by (namespace, name), after all that is due now has been done."""
    found = {}
    for request in cluster.secrets if cluster.access.is_enabled and not cluster.is_standby else ():
        place = (request.namespace, request.name)
        if place in secrets:
            texts = dict(secrets[place]["stringData"])
            for _ in range(4):  # set, prepared, taken
                texts = _changed(cluster, request, texts)
            found[place] = {**secrets[place], "stringData": _recorded(request, texts)}
    return found


def _changed(cluster: Cluster, request: SecretRequest, texts: dict[str, str]) -> dict[str, str]:
    asked, rules = roles_and_databases(cluster.access, cluster.names), cluster.access.rotation
    held = HeldSecret(
        request.username,
        request.namespace,
        request.name,
        "",
        "",
        _dated(texts["username"]),
        _dated(texts.get("nextUsername", "")),
        _time(texts.get("nextRotation", "")),
    )
    for rotation in rotations(asked, (held,), Catalogue({}, {}, {}), (), rules):
        # The server does what it is told: a login that is prepared is ready.
        found = due(Rotation(held, rotation.mode, is_next_ready=bool(held.next_username)), rules, NOW)
        return _after(found.change, texts) if found is not None else texts
    return texts


def _after(change: SecretChange, texts: Mapping[str, str]) -> dict[str, str]:
    after = {**texts, **{key: text for key, text in change.texts.items() if text is not None}}
    if change.fresh:
        after[change.fresh] = "PASSWORD:64 (change 1)"
    if change.takes_next:
        after["password"] = after.pop("nextPassword")
    return {key: text for key, text in after.items() if change.texts.get(key, text) is not None}


def _dated(text: str) -> str:
    return text.replace("YYMMDD", NOW.strftime(DATE))


def _time(text: str) -> str:
    """`NOW+90d` as a time; what people wrote is one already."""
    if not text.startswith("NOW"):
        return text
    return (NOW + dt.timedelta(days=int(text.removeprefix("NOW").removesuffix("d") or 0))).isoformat()


def _recorded(request: SecretRequest, texts: Mapping[str, str]) -> dict[str, str]:
    said = dict(texts)
    if said["username"].endswith(NOW.strftime(DATE)) and said["username"] != request.username:
        said["username"] = f"{request.username}YYMMDD"
    if (text := said.get("nextRotation", "")) and not text.startswith("NOW"):
        said["nextRotation"] = f"NOW+{(dt.datetime.fromisoformat(text) - NOW).days}d"
    return said

"""What rotation writes into Secrets, as an API server takes it: every kind of change, and the ones that come too late."""

from __future__ import annotations

import base64
import time
from typing import Any

import msgspec
import pytest

from adapters.apiserver.client import JSON_PATCH, Client
from howdah.controller.passwords import operations
from howdah.core.plan import ChangeSecret
from howdah.core.postgres.rotation import SecretChange
from howdah.model.observed import SecretMeta


def made(api: Client, core: str, **texts: str) -> dict[str, Any]:
    body = {"metadata": {"name": "s"}, "stringData": {"username": "app", "password": "first", **texts}}
    return dict(api.post(f"{core}/secrets", body)["metadata"])


def changed(api: Client, core: str, metadata: dict[str, Any], change: SecretChange) -> Any:
    step = ChangeSecret(
        reason="r", name="s", namespace="n", uid=metadata["uid"], resource_version=metadata["resourceVersion"],
        change=change,
    )  # fmt: skip
    return api.patch(f"{core}/secrets/s", operations(step), JSON_PATCH)


def of(metadata: dict[str, Any]) -> SecretMeta:
    return msgspec.json.decode(msgspec.json.encode({"metadata": metadata}), type=SecretMeta)


def texts(api: Client, core: str) -> dict[str, str]:
    return {key: base64.b64decode(text).decode() for key, text in api.get(f"{core}/secrets/s")["data"].items()}


def test_a_login_is_prepared_and_taken(api: Client, core: str) -> None:
    metadata = made(api, core)
    prepared = changed(api, core, metadata, SecretChange({"nextUsername": "app261125"}, fresh="nextPassword"))
    assert prepared.code == 200
    held = texts(api, core)
    assert (held["username"], held["password"], held["nextUsername"]) == ("app", "first", "app261125")
    following = held["nextPassword"]
    assert len(following) == 64
    change = SecretChange({"username": "app261125", "nextUsername": None, "nextRotation": "soon"}, takes_next=True)
    assert changed(api, core, prepared["metadata"], change).code == 200
    assert texts(api, core) == {"username": "app261125", "password": following, "nextRotation": "soon"}


def test_a_password_is_replaced_in_place(api: Client, core: str) -> None:
    change = SecretChange({"nextRotation": "later"}, fresh="password")
    assert changed(api, core, made(api, core, nextRotation="now"), change).code == 200
    held = texts(api, core)
    assert held["password"] != "first"
    assert held == {"username": "app", "password": held["password"], "nextRotation": "later"}


def test_when_a_password_was_changed_last_is_in_the_managed_fields(api: Client, core: str) -> None:
    """Also where the same writer changes the same field again: pods that are younger than that have it already."""
    first = changed(api, core, made(api, core), SecretChange({}, fresh="password"))["metadata"]
    time.sleep(1.1)  # times are whole seconds
    second = changed(api, core, first, SecretChange({}, fresh="password"))["metadata"]
    before, after = (of(metadata).changed_at for metadata in (first, second))
    assert before is not None
    assert after is not None
    assert after > before


def test_what_was_prepared_is_forgotten_whether_it_is_there_or_not(api: Client, core: str) -> None:
    change = SecretChange({"nextUsername": None}, forgets_next=True)
    first = changed(api, core, made(api, core, nextUsername="app261125", nextPassword="next"), change)
    assert first.code == 200
    assert changed(api, core, first["metadata"], change).code == 200
    assert texts(api, core) == {"username": "app", "password": "first"}


@pytest.mark.parametrize(("stale", "code"), [({"resourceVersion": "1"}, 409), ({"uid": "another"}, 422)])
def test_a_secret_that_is_not_the_one_seen_is_not_changed(api: Client, core: str, stale, code: int) -> None:
    metadata = made(api, core)
    before = texts(api, core)
    assert changed(api, core, {**metadata, **stale}, SecretChange({}, fresh="password")).code == code
    assert texts(api, core) == before


def test_without_a_prepared_password_nothing_is_taken(api: Client, core: str) -> None:
    change = SecretChange({"username": "app261125", "nextUsername": None}, takes_next=True)
    assert changed(api, core, made(api, core), change).code == 422
    assert texts(api, core) == {"username": "app", "password": "first"}

"""Where passwords come from, and how one is written into a Secret: only here, and never into a plan."""

from __future__ import annotations

import base64
import secrets
import string
from collections.abc import Mapping
from typing import Any

from howdah.core.plan import ChangeSecret
from howdah.kube.client import Client
from howdah.kube.resources import SECRETS

PASSWORD_LENGTH = 64
ALPHABET = string.ascii_letters + string.digits

Operation = Mapping[str, Any]


def new_password() -> str:
    """As the reference makes them: 64 letters and digits."""
    return "".join(secrets.choice(ALPHABET) for _ in range(PASSWORD_LENGTH))


async def change_secret(client: Client, step: ChangeSecret) -> None:
    """One write, refused (Conflict, or Invalid for another uid) where the Secret is not the one that was seen.

    A password that is there already is moved by the server: it does not pass through here.
    """
    await client.json_patch(SECRETS, step.name, operations(step), namespace=step.namespace)


def operations(step: ChangeSecret) -> list[Operation]:
    """The step as a JSON patch, a new password in it."""
    change = step.change
    found: list[Operation] = [
        {"op": "test", "path": "/metadata/uid", "value": step.uid},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": step.resource_version},
    ]
    for key, text in sorted(change.texts.items()):
        # Adding first makes removing work whether the key is there or not.
        found.append({"op": "add", "path": f"/data/{key}", "value": _base64(text or "")})
        if text is None:
            found.append({"op": "remove", "path": f"/data/{key}"})
    if change.takes_next:
        found.append({"op": "move", "from": "/data/nextPassword", "path": "/data/password"})
    if change.forgets_next:
        found.append({"op": "add", "path": "/data/nextPassword", "value": ""})
        found.append({"op": "remove", "path": "/data/nextPassword"})
    if change.fresh:
        found.append({"op": "add", "path": f"/data/{change.fresh}", "value": _base64(new_password())})
    return found


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()

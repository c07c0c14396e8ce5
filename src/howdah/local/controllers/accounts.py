"""Every namespace has a service account named `default`: pods that name none use it."""

import contextlib

from howdah.kube.errors import AlreadyExists
from howdah.kube.resources import NAMESPACES, SERVICE_ACCOUNTS
from howdah.local.controllers.loop import Controller, Key, World

NAME = "default"


def accounts_controller(world: World) -> Controller:
    """Keys are (namespace, "default")."""

    async def reconcile(key: Key) -> None:
        namespace = world.caches.get(NAMESPACES, "", key[0])
        if namespace is None or namespace["metadata"].get("deletionTimestamp"):
            return
        if world.caches.get(SERVICE_ACCOUNTS, *key) is None:
            with contextlib.suppress(AlreadyExists):
                body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NAME}}
                await world.client.create(SERVICE_ACCOUNTS, body, namespace=key[0])

    triggers = {
        NAMESPACES: lambda namespace: [(namespace["metadata"]["name"], NAME)],
        SERVICE_ACCOUNTS: lambda account: [(account["metadata"]["namespace"], NAME)],
    }
    return Controller(world, triggers, reconcile)

"""The nodes of the cluster, as far as decisions use them: labels, whether they take pods, whether they are ready.

A node's heartbeat is a Lease, which nobody watches; its status is written every few minutes, and tells nothing new mostly.
Where nodes may not be seen, as in an installation for single namespaces, everything else goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from howdah.controller.optional import FORBIDDEN_DELAY_S, first_look
from howdah.kube.client import Client
from howdah.kube.informer import Informer
from howdah.kube.resources import NODES
from howdah.model.observed import Node, Pod


class Nodes:
    """`on_change(name)` is called when something that counts has changed about a node."""

    def __init__(self, client: Client, on_change: Callable[[str], None]) -> None:
        self._informer = Informer(
            client,
            NODES,
            Node,
            significant=Node.significant,
            on_change=self._changed,
            forbidden_delay_s=FORBIDDEN_DELAY_S,  # an operator of single namespaces need not see any
        )
        self._on_change = on_change

    def _changed(self, old: Node | None, new: Node | None) -> None:
        node = new or old
        if node is not None:
            self._on_change(node.metadata.name)

    async def run(self) -> None:
        """Keep the cache true until cancelled."""
        await self._informer.run()

    async def looked(self) -> None:
        """Wait until the nodes are known, or that they may not be; not for long."""
        await first_look(lambda: self._informer.has_looked)

    @property
    def unseen(self) -> str | None:
        """Why nothing is known of any node."""
        error = self._informer.denied
        return None if error is None else f"leaders are not moved off cordoned nodes: {error}"

    @property
    def malformed(self) -> int:
        """How many cannot be read; a member's node that is unknown is no reason to do anything."""
        return len(self._informer.malformed)

    def of(self, pods: Iterable[Pod]) -> Mapping[str, Node]:
        """By name, those that the pods are on; nothing where they may not be seen, whatever was seen before."""
        if self.unseen is not None:
            return {}
        names = {pod.spec.node_name for pod in pods if pod.spec.node_name}
        return {name: node for name in names if (node := self._informer.get("", name)) is not None}

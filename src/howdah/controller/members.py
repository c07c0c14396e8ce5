"""Commands to the members of a cluster, and asking each of them how it is; with the credentials that its Patroni expects."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from howdah.adapters import kubernetes
from howdah.adapters.patroni import COMMAND_TIMEOUT_S, DeniedError, Endpoint, NodeStatus, Patroni
from howdah.core.patroni.credentials import RestCredentials, derived_credentials
from howdah.core.patroni.member import UNKNOWN, Member
from howdah.kube.client import Client
from howdah.model.cluster import Cluster
from howdah.model.errors import ExternalError
from howdah.model.permit import Permit

AT_ONCE_S = 0.3  # a member that is well answers in some milliseconds, and the next call is not to be late


class Members:
    """Speaks to Patroni for all clusters. The credentials are read from the superuser's Secret for each command.

    `permit` is asked after that, right before a command is sent: a busy API server may take its time over a Secret.
    """

    def __init__(self, client: Client, patroni: Patroni, permit: Permit) -> None:
        self._client = client.permitted_by(permit)
        self._patroni = patroni
        self._permit = permit

    async def patch_configuration(self, cluster: Cluster, member: Member, patch: Mapping[str, Any]) -> None:
        try:
            await self._patroni.patch_config(await self._permitted(cluster, member), patch)
        except DeniedError:
            stdin = msgspec.json.encode(patch)
            await self._patronictl(
                cluster, member, "edit-config", cluster.key.name, "--force", "--apply", "-", stdin=stdin
            )

    async def switch_over(self, cluster: Cluster, leader: Member, candidate: str) -> None:
        try:
            endpoint = await self._permitted(cluster, leader)
            await self._patroni.switchover(endpoint, leader=leader.name, candidate=candidate)
        except DeniedError:
            who = ("--leader", leader.name, "--candidate", candidate)
            await self._patronictl(cluster, leader, "switchover", cluster.key.name, *who, "--force")

    async def restart(self, cluster: Cluster, member: Member) -> None:
        """Only where the restart is still pending."""
        try:
            await self._patroni.restart(await self._permitted(cluster, member), only_pending=True)
        except DeniedError:
            await self._patronictl(cluster, member, "restart", cluster.key.name, member.name, "--force", "--pending")

    async def _patronictl(self, cluster: Cluster, member: Member, *argv: str, stdin: bytes | None = None) -> None:
        """The way back where our credentials are not the member's, as after an edited superuser's Secret: its own pod."""
        done = await self._client.exec(
            member.name,
            namespace=cluster.key.namespace,
            container=cluster.postgres.name,
            argv=("patronictl", *argv),
            stdin=stdin,
            timeout_s=COMMAND_TIMEOUT_S,
        )
        if done.exit_code != 0:
            said = (done.stderr or done.stdout).decode(errors="replace").strip()[-300:]
            message = f"patronictl {argv[0]} in Pod {member.name} ended with code {done.exit_code}: {said}"
            raise ExternalError("patroni", transient=True, message=message)

    async def hear(self, members: Mapping[str, Member]) -> dict[str, Member]:
        """Every member that says where it is, as it answers now. One that does not answer is in state unknown."""
        asked = [member for member in members.values() if member.api_url is not None]
        answers = await asyncio.gather(*(self._ask(member) for member in asked))
        return {member.name: member for member in answers}

    async def successor(self, leader: Member, others: Iterable[Member]) -> str | None:
        """Of these replicas one that says that it runs; None where the leader says that it leads, or one vouches for it.

        A leader that cannot reach the API server goes on where all others vouch for it (failsafe mode). Who does not
        answer at once is not waited for.
        """
        asks = [asyncio.create_task(self._status(member)) for member in (leader, *others)]
        try:
            await asyncio.wait(asks, timeout=AT_ONCE_S)
        finally:
            for ask in asks:
                ask.cancel()
        await asyncio.gather(*asks, return_exceptions=True)
        said = [answer for ask in asks if not ask.cancelled() and (answer := ask.result()) is not None]
        running = {name: status for name, status in said if status.state == "running"}
        if leader.name in running and running[leader.name].role != "replica":
            return None
        if any(status.failsafe_mode_is_active for _, status in said):
            return None
        return min(
            (name for name, status in running.items() if name != leader.name and status.role == "replica"), default=None
        )

    async def _status(self, member: Member) -> tuple[str, NodeStatus] | None:
        with contextlib.suppress(ExternalError, ValueError):  # no URL is said by a member, too
            return member.name, await self._patroni.get_patroni(Endpoint(member.api_url or ""))
        return None

    async def _ask(self, member: Member) -> Member:
        try:
            status = await self._patroni.get_patroni(Endpoint(member.api_url or ""))
        except ExternalError as error:
            return dataclasses.replace(member, state=UNKNOWN, postgres_state=UNKNOWN, problem=error.message)
        return _told(member, status)

    async def _permitted(self, cluster: Cluster, member: Member) -> Endpoint:
        """Where a command goes. Raises NotLeading where it may not be sent any more."""
        credentials = await self._credentials(cluster)
        self._permit()
        return Endpoint(member.api_url or "", credentials.username, credentials.password)

    async def _credentials(self, cluster: Cluster) -> RestCredentials:
        superuser = cluster.access.super_username
        secret = await kubernetes.read_secret(self._client, cluster.key.namespace, cluster.names.secret(superuser))
        if secret is None or "password" not in secret:
            raise ExternalError("kubernetes", transient=True, message=f"the Secret of role {superuser} has no password")
        return derived_credentials(superuser, secret["password"].decode())


def _told(member: Member, status: NodeStatus) -> Member:
    role = "primary" if status.role in ("master", "primary") else status.role
    replicates = role == "replica" and status.state == "running"
    here = status.xlog.furthest if status.xlog is not None else None
    return dataclasses.replace(
        member,
        role=role,
        postgres_state=status.state,
        state=(status.replication_state or status.state) if replicates else status.state,
        timeline=status.timeline if status.timeline is not None else member.timeline,
        lsn=here if here is not None else member.lsn,
        pending_restart=status.pending_restart,
    )

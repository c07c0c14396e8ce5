"""Asks each replica who is connected with it: the leader's catalogue is theirs too, its sessions are not."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Protocol

from howdah.adapters.postgres import Target
from howdah.core.situation import Situation
from howdah.model.errors import ExternalError
from howdah.model.observed import Pod
from howdah.model.postgres.catalogue import ReplicaSessions

ASK_TIMEOUT_S = 10.0


class Server(Protocol):
    """What is asked of a replica: `howdah.adapters.postgres`, or a simulated one."""

    async def sessions(self, target: Target, roles: Collection[str], /) -> Mapping[str, int]: ...


async def replica_sessions(
    server: Server, situation: Situation, leader: Target, roles: Collection[str]
) -> ReplicaSessions:
    """Of all members but the leader, at once. A pod that is there may have sessions, whatever is known of its state."""
    target = replace(leader, is_replica_enough=True, statement_timeout_s=ASK_TIMEOUT_S, session_timeout_s=ASK_TIMEOUT_S)
    pods = [view.pod for view in situation.views if not view.is_leader]
    answers = await asyncio.gather(*(_asked(server, pod, target, roles) for pod in pods))
    found = {pod.name: answer for pod, answer in zip(pods, answers, strict=True)}
    return ReplicaSessions(
        {
            role: {name: said[role] for name, said in found.items() if not isinstance(said, str) and said.get(role)}
            for role in roles
        },
        {name: said for name, said in found.items() if isinstance(said, str)},
    )


async def _asked(server: Server, pod: Pod, target: Target, roles: Collection[str]) -> Mapping[str, int] | str:
    """How many sessions by role, or why it did not say."""
    if not pod.status.pod_ip:
        return "it has no address yet"
    try:
        return await server.sessions(replace(target, host=pod.status.pod_ip), roles)
    except ExternalError as error:
        return error.message

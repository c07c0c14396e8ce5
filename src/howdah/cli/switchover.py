"""`howdah switchover`: the leader hands over to a member that can take it, planned; the time without writes is told."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Mapping

from howdah.adapters import kubernetes
from howdah.adapters.answers import new_session
from howdah.adapters.patroni import Patroni, RefusedError, UnreachableError
from howdah.cli.exits import Exit, Failed
from howdah.cli.operator_settings import OperatorSettings, find_settings
from howdah.cli.options import Connection
from howdah.cli.output import say
from howdah.controller.lead import permit
from howdah.controller.look import judge, observe_live
from howdah.controller.members import Members
from howdah.controller.observe import utc_now
from howdah.core.patroni.member import Member, parse_leader, parse_member
from howdah.core.patroni.switchover import Eligibility, choose_candidate
from howdah.core.situation import Situation
from howdah.kube.client import Client
from howdah.model import names

LEADS_TIMEOUT_S = 60.0
POLL_S = 0.1
HEARTBEAT_S, LOOK_S = 20.0, 1.0
"""How long to wait for what the leader does in its heartbeat (each loop_wait), and how often to look.

It lists new members for failsafe mode, and makes one of them the synchronous standby. Replicas say how far they are then.
"""
PRECONDITION_FAILED = 412  # Patroni has looked, and done nothing


def switch_over(connection: Connection, name: str, to: str | None) -> None:
    """Returns when the new leader is a primary. Raises Failed with the reasons of a refusal (1), or in vain (4)."""

    async def work(client: Client, namespace: str) -> None:
        async with new_session() as session:
            members = Members(client, Patroni(session), permit(lambda: True))
            await _switch_over(client, await find_settings(client), members, (namespace, name), to)

    connection.run(work)


async def _switch_over(
    client: Client, operator: OperatorSettings, members: Members, key: tuple[str, str], to: str | None
) -> None:
    deadline = time.monotonic() + HEARTBEAT_S
    before: str | None = None
    while True:
        situation, leader, candidate = await _decided(client, operator, members, key, to, deadline)
        if before not in (None, leader.name):
            raise Failed(f"{leader.name} has taken over from {before} meanwhile")
        say(f"{leader.name} hands over to {candidate}")
        before, asked = leader.name, time.monotonic()
        try:
            await _ask(client, members, situation, leader, candidate)
            break
        except RefusedError as refused:
            # What was seen here a moment ago has changed for Patroni, such as who is the synchronous standby.
            if refused.status != PRECONDITION_FAILED or time.monotonic() > deadline:
                raise
            say(f"{refused}; trying again")
        await asyncio.sleep(LOOK_S)
    # Not from when it was asked: a REST API out of reach may have taken as long as a switchover may.
    answered = time.monotonic()
    await _until_leads(client, members, situation, candidate, answered + LEADS_TIMEOUT_S)
    say(f"{candidate} leads after {time.monotonic() - asked:.1f} s (Patroni answered after {answered - asked:.1f} s)")


async def _decided(
    client: Client, operator: OperatorSettings, members: Members, key: tuple[str, str], to: str | None, deadline: float
) -> tuple[Situation, Member, str]:
    """What was seen, the leader, and who takes over; a member that only a heartbeat keeps from it is waited for."""
    told = False
    while True:
        situation = await _situation(client, operator, members, key)
        view = situation.leader_view
        leader = view.member if view is not None else None
        if leader is None:
            raise Failed(f"{key[0]}/{key[1]} has no leader; `howdah explain {key[1]}` says why", Exit.NOT_READY)
        try:
            return situation, leader, candidate_of(situation, to)
        except Failed as failed:
            if time.monotonic() > deadline or not waits_for_heartbeat(situation, to):
                raise
            if not told:
                say(f"{failed}; waiting for that")
            told = True
        await asyncio.sleep(LOOK_S)


async def _situation(client: Client, operator: OperatorSettings, members: Members, key: tuple[str, str]) -> Situation:
    observed = await observe_live(client, operator.settings, *key, now=utc_now())
    if observed is None:
        raise Failed(f"{key[0]}/{key[1]}: no such postgresql resource", Exit.NOT_FOUND)
    looked = await judge(client, operator.settings, operator.namespace, observed)
    return dataclasses.replace(looked.situation, members=await _heard(members, looked.situation.members))


async def _heard(members: Members, said: Mapping[str, Member]) -> dict[str, Member]:
    """As they answer now; from outside of the pod network nobody does, and the annotations count."""
    heard = await members.hear(said)
    return {**said, **{name: member for name, member in heard.items() if member.problem is None}}


async def _ask(client: Client, members: Members, situation: Situation, leader: Member, candidate: str) -> None:
    """Over Patroni's REST API, or in the leader's container where that cannot be reached from here.

    Who does not answer may have heard it: what was done, or is being done, is not asked for again.
    """
    try:
        await members.switch_over(situation.cluster, leader, candidate)
    except UnreachableError:
        if await _lock_holder(client, situation) != leader.name:
            return
        key = situation.cluster.key
        argv = ("patronictl", "switchover", key.name, "--leader", leader.name, "--candidate", candidate, "--force")
        done = await client.exec(
            leader.name,
            namespace=key.namespace,
            container=names.POSTGRES_CONTAINER,
            argv=argv,
            timeout_s=LEADS_TIMEOUT_S,
        )
        if done.exit_code != 0:
            said = (done.stderr or done.stdout).decode(errors="replace").strip()
            raise Failed(f"Patroni refuses: {said}") from None


def candidate_of(situation: Situation, to: str | None, eligibility: Eligibility | None = None) -> str:
    """The member asked for, or the best. Raises Failed with what is in the way."""
    leader, rules = situation.leader.name, eligibility or situation.eligibility
    others = {name: member for name, member in situation.members.items() if name != leader}
    if to is None:
        choice = choose_candidate(others.values(), rules)
        if choice.name is None:
            raise Failed(f"no member can take over from {leader}: {choice.reason}")
        return choice.name
    if to == leader:
        raise Failed(f"{to} leads already")
    member = others.get(to)
    if member is None:
        raise Failed(f"{to} is no member; there are: {', '.join(sorted(situation.members)) or 'none'}", Exit.NOT_FOUND)
    why_not = rules.obstacle(member)
    if why_not is not None:
        raise Failed(f"{to} cannot take over from {leader}: it {why_not}")
    return to


def waits_for_heartbeat(situation: Situation, to: str | None) -> bool:
    """Whether somebody could take over, if what a heartbeat brings were there: see `HEARTBEAT_S`."""
    now = situation.eligibility
    has_standby = now.only_synchronous and bool(now.synchronous)
    soon = dataclasses.replace(now, failsafe=None, optime=None, only_synchronous=has_standby)
    try:
        candidate_of(situation, to, soon)
    except Failed:
        return False
    return True


async def _until_leads(client: Client, members: Members, situation: Situation, candidate: str, deadline: float) -> None:
    """`deadline`: of the monotonic clock."""
    while True:
        leads = await _lock_holder(client, situation) == candidate
        if leads and await _is_primary(client, members, situation, candidate):
            return
        if time.monotonic() > deadline:
            raise Failed(
                f"{candidate} does not lead after {LEADS_TIMEOUT_S:g} s; `howdah status` shows who does",
                Exit.NOT_READY,
            )
        await asyncio.sleep(POLL_S)


async def _lock_holder(client: Client, situation: Situation) -> str | None:
    kind, name = situation.cluster.names.leader_object
    namespace, labels = situation.cluster.key.namespace, situation.cluster.labels.selector_text
    found = (await kubernetes.read_patroni(client, namespace, labels, kind)).get((kind, name))
    return parse_leader(found.metadata.annotations).name if found is not None else None


async def _is_primary(client: Client, members: Members, situation: Situation, candidate: str) -> bool:
    key = situation.cluster.key
    pods = await kubernetes.read_pods(client, key.namespace, situation.cluster.labels.selector_text)
    said = {pod.name: parse_member(pod.name, pod.metadata.annotations) for pod in pods}
    member = said.get(candidate)
    if member is None:
        return False
    now = (await _heard(members, {candidate: member}))[candidate]
    return now.role == "primary" and now.postgres_state == "running"

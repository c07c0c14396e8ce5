"""Waiting until a cluster is there: what changed since the last look, what is still missing, and the proof that it streams."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from howdah.adapters import postgres
from howdah.adapters.kubernetes import POSTGRESQLS
from howdah.cli.connect import Endpoint, find_endpoint
from howdah.cli.exits import Exit, Failed
from howdah.cli.operator_settings import OperatorSettings
from howdah.cli.progress import Progress
from howdah.core.patroni.member import parse_member
from howdah.core.resolve import label_keys
from howdah.kube.client import Client
from howdah.kube.errors import KubeError, NotFound
from howdah.kube.resources import PODS
from howdah.model import names
from howdah.model.errors import ExternalError
from howdah.model.observed import Live, Pod

POLL_S = 0.25
_STREAMING = "SELECT application_name::text FROM pg_stat_replication WHERE state = 'streaming'"


# Patroni's word → ours; others are said as they are.
_STATES: Mapping[str, str] = {
    "running": "runs",
    "stopped": "is about to start PostgreSQL",
    "initializing new cluster": "initialises the database",
    "creating replica": "copies the leader's data",
}


@dataclass(frozen=True, slots=True)
class Sight:
    """One look at a cluster on its way."""

    phase: str = ""
    is_current: bool = False  # the status is about the manifest that was applied
    conditions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # by type
    members: tuple[tuple[str, str], ...] = ()  # (pod, what it does), by ordinal
    wanted: int = 0
    streaming: frozenset[str] | None = None  # as the leader's PostgreSQL says; None while it does not answer

    def is_true(self, condition: str) -> bool:
        return self.conditions.get(condition, {}).get("status") == "True"

    @property
    def is_standby(self) -> bool:
        return self.conditions.get("Ready", {}).get("reason") == "StandbyLeaderRuns"

    @property
    def is_ready(self) -> bool:
        """The status says so, which may be old after a restart, and a writable server answers through the service."""
        return self.is_true("Ready") and (self.is_standby or self.streaming is not None)

    @property
    def databases_are_ready(self) -> bool:
        return self.is_ready and self.phase == "Running" and (self.is_standby or self.is_true("CredentialsInSync"))

    @property
    def invalid(self) -> str | None:
        """Why the manifest is not acted on."""
        said = self.conditions.get("Degraded", {})
        return said.get("message") if self.is_current and said.get("reason") == "InvalidSpec" else None


def missing(sight: Sight) -> tuple[str, ...]:
    """What the cluster still lacks; nothing when it is as the manifest says."""
    if not sight.is_current:
        return ("the operator looks at the manifest",)
    if sight.wanted == 0:
        return ()
    lacks: list[str] = []
    if not sight.is_ready:
        said = "" if sight.is_true("Ready") else sight.conditions.get("Ready", {}).get("message")
        lacks.append(said or "no member accepts writes")
    lacks += [f"{name} {what}" for name, what in sight.members if what != "runs"]
    if len(sight.members) < sight.wanted:
        lacks.append(f"{len(sight.members)} of {sight.wanted} pods exist")
    if sight.streaming is not None and len(sight.streaming) < sight.wanted - 1:
        lacks.append(f"{len(sight.streaming)} of {sight.wanted - 1} replicas stream")
    if sight.is_ready and not sight.databases_are_ready:
        lacks.append(sight.conditions.get("Progressing", {}).get("message") or "roles and databases are made")
    return tuple(dict.fromkeys(lacks))


def news(before: Sight, now: Sight) -> Iterator[str]:
    """What happened between two looks, as sentences."""
    known = dict(before.members)
    for name, what in now.members:
        if known.get(name) != what:
            yield f"{name} {what}"
    if now.is_ready and not before.is_ready:
        yield now.conditions["Ready"]["message"]
    for name in sorted((now.streaming or frozenset()) - (before.streaming or frozenset())):
        yield f"{name} streams"
    if now.databases_are_ready and not before.databases_are_ready:
        yield "roles and databases are as the manifest says"
    if now.is_true("Degraded") and not before.is_true("Degraded"):
        yield f"degraded: {now.conditions['Degraded']['message']}"


async def look_at(client: Client, operator: OperatorSettings, namespace: str, name: str, generation: int) -> Sight:
    """Ask the API server, and the leader's PostgreSQL as soon as there is one."""
    resource = await client.get(POSTGRESQLS, name, namespace=namespace, type=Live)
    labels = names.selector_text(label_keys(operator.settings).selector(name))
    pods = (await client.list(PODS, namespace=namespace, labels=labels, type=Pod)).items
    status = resource.decoded_status()
    conditions = {c["type"]: c for c in status.get("conditions") or ()}
    spec = resource.body(POSTGRESQLS.api_version, POSTGRESQLS.kind)["spec"]
    sight = Sight(
        phase=status.get("PostgresClusterStatus", ""),
        is_current=(status.get("observedGeneration") or 0) >= generation,
        conditions=conditions,
        members=tuple((pod.name, doing(pod)) for pod in sorted(pods, key=lambda pod: pod.ordinal)),
        wanted=int(spec.get("numberOfInstances") or 0),
    )
    replicas = await streaming(client, operator, namespace, name) if sight.is_true("Ready") else None
    if replicas is None:
        return sight
    return replace(sight, streaming=replicas & {pod for pod, _ in sight.members})  # not those that copy its data


def doing(pod: Pod) -> str:
    """What a member does, as a sentence without its subject; `runs` when PostgreSQL does."""
    if pod.is_deleting:
        return "is being deleted"
    for status in pod.status.container_statuses or ():
        waiting = status.state.waiting
        if waiting is not None and waiting.reason not in (None, "ContainerCreating", "PodInitializing"):
            last = status.last_state.terminated
            said = (last.message if last is not None else None) or waiting.message or ""
            return f"does not start: {waiting.reason}: {said.strip()}".rstrip(": ")
    if pod.status.phase != "Running":
        return "is being started"
    member = parse_member(pod.name, pod.metadata.annotations)
    if member is None:
        return "prepares its data"
    return _STATES.get(member.postgres_state, f"is {member.postgres_state}")


async def streaming(client: Client, operator: OperatorSettings, namespace: str, name: str) -> frozenset[str] | None:
    """The replicas that stream, as the leader says at this moment; None while no writable server answers."""
    try:
        found = await find_endpoint(client, operator, namespace, name, None, "postgres")
        async with postgres.connect(_target(found)) as session:
            rows = await (await session.execute(_STREAMING)).fetchall()
    except (Failed, ExternalError, NotFound):
        return None
    return frozenset(str(row[0]) for row in rows)


def _target(endpoint: Endpoint) -> postgres.Target:
    return postgres.Target(
        host=endpoint.host,
        port=endpoint.port,
        user=endpoint.user,
        password=endpoint.password,
        connect_timeout_s=2,
        statement_timeout_s=2,
        session_timeout_s=5,
    )


async def wait_for(
    client: Client,
    operator: OperatorSettings,
    applied: Iterable[tuple[str, str, int]],
    progress: Progress,
    timeout_s: float,
) -> None:
    """Until every cluster of `applied` (namespace, name, generation) is as its manifest says.

    Raises Failed: invalid manifest (2), or what is missing when the time is over (4).
    """
    deadline = time.monotonic() + timeout_s
    sights = {key: Sight() for key in applied}
    open_ones = set(sights)
    while open_ones:
        for key in sorted(open_ones):
            try:
                now = await look_at(client, operator, *key)
            except KubeError as error:
                if not error.transient:
                    raise
                progress.now(str(error))
                continue
            for sentence in news(sights[key], now):
                progress.told(sentence)
            sights[key] = now
            if now.invalid is not None:
                raise Failed(f"{key[1]}: the manifest is not valid:\n{_lines(now.invalid)}", Exit.INVALID)
            if not missing(now):
                open_ones.discard(key)
        if open_ones and time.monotonic() > deadline:
            raise Failed(_late(sights, open_ones, timeout_s), Exit.NOT_READY)
        if open_ones:
            progress.now("; ".join(what for key in sorted(open_ones) for what in missing(sights[key])))
            await asyncio.sleep(POLL_S)


def _lines(message: str) -> str:
    return "\n".join(f"  {part}" for part in message.split("; "))


def _late(sights: Mapping[tuple[str, str, int], Sight], late: Iterable[tuple[str, str, int]], timeout_s: float) -> str:
    said = [f"not ready after {timeout_s:g} s; it goes on by itself:"]
    for key in sorted(late):
        said += [f"  {key[1]}: {what}" for what in missing(sights[key])]
    return "\n".join([*said, "`howdah explain NAME` and `howdah local logs` say more"])

"""`howdah status`: all clusters in a table, or one with its conditions, members, pods, services and pending steps."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from howdah.adapters.kubernetes import POSTGRESQLS
from howdah.cli.arrival import doing
from howdah.cli.exits import Exit, Failed
from howdah.cli.operator_settings import OperatorSettings, find_settings
from howdah.cli.options import Connection
from howdah.cli.output import TEXT, age, as_text, check_format, coloured, is_terminal, say, table
from howdah.cli.plan import Planned, action, as_data, planned
from howdah.cli.poolers import pooler_services
from howdah.controller.look import observe_live
from howdah.controller.observe import utc_now
from howdah.core.resolve import label_keys
from howdah.kube.client import Client, Object
from howdah.kube.errors import NotFound
from howdah.kube.resources import SERVICES
from howdah.model import names
from howdah.model.observed import Pod, status_of

WATCH_S = 1.0
CLEAR = "\033[H\033[2J"
_COLOURS: Mapping[str, str] = {"Running": "good", "Creating": "busy", "Updating": "busy"}  # others are bad
_GOOD: Mapping[str, str] = {
    "Ready": "True",
    "CredentialsInSync": "True",
    "PoolersReady": "True",
    "Degraded": "False",
}
_SOUND_LAGS = (None, "ok")


@dataclass(frozen=True, slots=True)
class Detail:
    """One cluster."""

    resource: Object
    pods: tuple[Pod, ...]
    services: tuple[Object, ...]
    planned: Planned


@dataclass(frozen=True, slots=True)
class Shown:
    """What there is to show: as data, by which a change is noticed, and as lines."""

    data: Any
    lines: tuple[str, ...]


def print_status(connection: Connection, name: str | None, output: str, *, watch: bool) -> None:
    """Once, or again whenever it has changed. Raises Failed (3) for a name that is not there."""
    check_format(output)

    async def work(client: Client, namespace: str) -> None:
        operator = await find_settings(client)

        async def shown() -> Shown:
            now = utc_now()
            if name is None:
                listed = sorted((await client.list(POSTGRESQLS, namespace=namespace)).items, key=_name)
                unwatched = operator.unwatched(namespace) if listed else None
                notes = () if unwatched is None else (f"note: {unwatched}",)
                return Shown([summary(resource) for resource in listed], (*_all(listed, now), *notes))
            found = await detail(client, operator, namespace, name)
            return Shown(as_detail(found), tuple(text(found, now)))

        await _show(shown, output, watch=watch)

    connection.run(work)


async def _show(look: Callable[[], Awaitable[Shown]], output: str, *, watch: bool) -> None:
    before: Any = None
    while True:
        now = await look()
        if now.data != before:
            if before is not None and output == TEXT and is_terminal():
                say(CLEAR)
            say("\n".join(now.lines) if output == TEXT else as_text(now.data, output))
            before = now.data
        if not watch:
            return
        await asyncio.sleep(WATCH_S)


async def detail(client: Client, operator: OperatorSettings, namespace: str, name: str) -> Detail:
    """Raises Failed (3)."""
    observed = await observe_live(client, operator.settings, namespace, name, now=utc_now())
    if observed is None:
        raise Failed(f"{namespace}/{name}: no such postgresql resource", Exit.NOT_FOUND)
    labels = names.selector_text(label_keys(operator.settings).selector(name))
    try:
        resource = await client.get(POSTGRESQLS, name, namespace=namespace)
    except NotFound:
        raise Failed(f"{namespace}/{name}: it was deleted just now", Exit.NOT_FOUND) from None
    services = (await client.list(SERVICES, namespace=namespace, labels=labels)).items
    services = (*services, *await pooler_services(client, operator, namespace, name))
    return Detail(resource, observed.pods, services, await planned(client, operator, observed))


def _all(resources: Sequence[Object], now: dt.datetime) -> list[str]:
    if not resources:
        return ["no postgresql resources"]
    rows = [_row(resource, now) for resource in resources]
    return table(("NAME", "STATE", "LEADER", "MEMBERS", "VERSION", "AGE"), rows)


def _name(resource: Object) -> str:
    return str(resource["metadata"]["name"])


def is_sound(member: Mapping[str, Any]) -> bool:
    """Whether a member does what it should."""
    return member.get("state") in ("running", "streaming", "in archive recovery") and member.get("lag") in _SOUND_LAGS


def summary(resource: Object) -> dict[str, Any]:
    """A line of the table as data."""
    status, spec = status_of(resource.get("status") or {}), resource["spec"]
    members = status.get("members") or ()
    return {
        "namespace": resource["metadata"]["namespace"],
        "name": _name(resource),
        "state": status.get("PostgresClusterStatus") or "",
        "leader": status.get("leader") or "",
        "members": {"wanted": spec.get("numberOfInstances") or 0, "ok": sum(is_sound(one) for one in members)},
        "version": status.get("postgresqlVersion") or (spec.get("postgresql") or {}).get("version") or "",
        "created": resource["metadata"].get("creationTimestamp"),
    }


def _row(resource: Object, now: dt.datetime) -> tuple[str, ...]:
    found = summary(resource)
    state = found["state"] or "-"
    members = f"{found['members']['ok']}/{found['members']['wanted']}"
    is_whole = found["members"]["ok"] >= found["members"]["wanted"]
    created = found["created"]
    since = dt.datetime.fromisoformat(created.replace("Z", "+00:00")) if created else None
    return (
        found["name"],
        coloured(state, _COLOURS.get(state, "bad")),
        found["leader"] or "-",
        members if is_whole else coloured(members, "busy"),
        found["version"] or "-",
        age(since, now),
    )


def as_detail(found: Detail) -> dict[str, Any]:
    """For programs."""
    return {
        **summary(found.resource),
        "conditions": status_of(found.resource.get("status") or {}).get("conditions") or [],
        "memberStates": status_of(found.resource.get("status") or {}).get("members") or [],
        "pods": [{"name": pod.name, "ip": pod.status.pod_ip, "says": doing(pod)} for pod in found.pods],
        "services": [
            {"name": _name(service), "type": service["spec"].get("type"), "clusterIP": service["spec"].get("clusterIP")}
            for service in found.services
        ],
        "plan": as_data(found.planned),
    }


def text(found: Detail, now: dt.datetime) -> Iterable[str]:
    """For people."""
    yield from table(("NAME", "STATE", "LEADER", "MEMBERS", "VERSION", "AGE"), [_row(found.resource, now)])
    status = status_of(found.resource.get("status") or {})
    yield ""
    yield from table(
        ("CONDITION", "STATUS", "REASON", "MESSAGE"),
        [
            (c["type"], _condition_colour(c), c.get("reason") or "-", c.get("message") or "")
            for c in status.get("conditions") or ()
        ],
    )
    yield ""
    yield from table(("MEMBER", "ROLE", "STATE", "TIMELINE", "LAG", "POD", "ADDRESS"), list(_members(found)))
    yield ""
    yield from table(
        ("SERVICE", "TYPE", "ADDRESS"),
        [(_name(s), s["spec"].get("type") or "-", s["spec"].get("clusterIP") or "-") for s in found.services],
    )
    yield from _pending(found.planned)


def _condition_colour(condition: Mapping[str, Any]) -> str:
    status = str(condition.get("status"))
    good = _GOOD.get(str(condition.get("type")))
    if good is None or status == "Unknown":
        return status
    return coloured(status, "good" if status == good else "bad")


def _members(found: Detail) -> Iterable[tuple[str, ...]]:
    pods = {pod.name: pod for pod in found.pods}
    said = {member["name"]: member for member in status_of(found.resource.get("status") or {}).get("members") or ()}
    for name in sorted({*pods, *said}):
        member, pod = said.get(name, {}), pods.get(name)
        yield (
            name,
            str(member.get("role") or "-"),
            str(member.get("state") or "-"),
            str(member.get("timeline") or "-"),
            str(member.get("lag") or "-"),
            doing(pod) if pod is not None else coloured("is gone", "bad"),
            (pod.status.pod_ip if pod is not None else None) or "-",
        )


def _pending(found: Planned) -> Iterable[str]:
    plan = found.plan
    if plan.is_quiet and not found.problems and not found.passed_over:
        return
    yield ""
    yield from (f"note: {why}" for why in found.passed_over)
    yield from (f"not valid: {problem}" for problem in found.problems)
    yield from (f"next: {action(step)}: {step.reason}" for step in plan.steps)
    yield from (f"held: {action(held.step)}: {held.why}" for held in plan.held)
    yield from (f"waits: {wait.why}" for wait in plan.waits)
    if plan.stopped is not None:
        yield f"stopped: {plan.stopped}"

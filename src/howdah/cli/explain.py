"""`howdah explain`: why a cluster is not ready, what it waits for, when the operator looks again, what happened last."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from howdah.cli.arrival import doing
from howdah.cli.exits import Exit, Failed
from howdah.cli.operator_settings import OperatorSettings, find_settings
from howdah.cli.options import Connection
from howdah.cli.output import TEXT, age, check_format, coloured, print_data, say
from howdah.cli.plan import Planned, action, as_data, planned
from howdah.cli.poolers import pooler_pods
from howdah.controller.look import observe_live
from howdah.controller.observe import utc_now
from howdah.kube.client import Client, Object
from howdah.kube.errors import Forbidden, NotFound
from howdah.kube.resources import EVENTS, LEASES
from howdah.model import names
from howdah.model.observed import Live

EVENTS_SHOWN = 10
_SAID = {"PoolersReady": "poolers not ready"}


@dataclass(frozen=True, slots=True)
class Acting:
    """Whether an operator acts on the cluster, None where that is not known; and who, as a sentence."""

    acts: bool | None
    says: str


@dataclass(frozen=True, slots=True)
class Explained:
    """Everything that is known of why a cluster is as it is."""

    planned: Planned
    status: Mapping[str, Any]
    members: tuple[tuple[str, str], ...]
    operator: Acting
    events: tuple[Object, ...]
    resync_s: float
    now: dt.datetime


def print_explanation(connection: Connection, name: str, output: str) -> None:
    """Raises Failed (3) without such a resource."""
    check_format(output)

    async def work(client: Client, namespace: str) -> Explained:
        return await explained(client, await find_settings(client), namespace, name)

    found = connection.run(work)
    if output == TEXT:
        for line in text(found):
            say(line)
    else:
        print_data(_data(found), output)


async def explained(client: Client, operator: OperatorSettings, namespace: str, name: str) -> Explained:
    """Read and judge."""
    now = utc_now()
    observed = await observe_live(client, operator.settings, namespace, name, now=now)
    if observed is None:
        raise Failed(f"{namespace}/{name}: no such postgresql resource", Exit.NOT_FOUND)
    selector = f"involvedObject.name={name},involvedObject.kind=postgresql"
    events = (await client.list(EVENTS, namespace=namespace, fields=selector)).items
    return Explained(
        planned=await planned(client, operator, observed),
        status=observed.resource.decoded_status(),
        members=(
            *((pod.name, doing(pod)) for pod in observed.pods),
            *await pooler_pods(client, operator, namespace, name),
        ),
        operator=await _who_acts(client, operator, observed.resource, now),
        events=tuple(sorted(events, key=_when)[-EVENTS_SHOWN:]),
        resync_s=operator.settings.resync_period.seconds,
        now=now,
    )


async def _who_acts(client: Client, operator: OperatorSettings, resource: Live, now: dt.datetime) -> Acting:
    """The holder of the Lease of the cluster's operators, and whether it still renews."""
    name, namespace = names.lease(resource.meta.annotation(names.CONTROLLER) or ""), operator.namespace
    try:
        lease = await client.get(LEASES, name, namespace=namespace)
    except NotFound:
        if not operator.is_placed:
            return Acting(None, "unknown: its namespace is not known; say it by OPERATOR_NAMESPACE in the environment")
        if operator.of_another(resource.meta.annotations) is not None:
            return Acting(None, f"unknown: there is no Lease {name} in namespace {namespace}; it may be in another")
        return Acting(False, f"no operator acts: there is no Lease {name} in namespace {namespace}")
    except Forbidden:
        return Acting(None, "unknown: reading Leases is not permitted")
    spec = lease.get("spec") or {}
    holder, renewed = str(spec.get("holderIdentity") or "").partition("_")[0], _time(spec.get("renewTime"))
    if not holder:
        return Acting(False, f"no operator acts: nobody holds Lease {name} in namespace {namespace}")
    if renewed is None or (now - renewed).total_seconds() > float(spec.get("leaseDurationSeconds") or 15):
        return Acting(False, f"no operator acts: {holder} renewed Lease {name} last {age(renewed, now)} ago")
    if operator.unwatched(resource.meta.namespace) is not None:
        return Acting(False, f"{holder} acts, but not in namespace {resource.meta.namespace}")
    return Acting(True, f"{holder} acts")


def text(found: Explained) -> Iterable[str]:
    """For people."""
    conditions = {c["type"]: c for c in found.status.get("conditions") or ()}
    yield headline(found.planned, conditions)
    yield f"state: {found.status.get('PostgresClusterStatus') or 'none yet'}"
    yield f"operator: {found.operator.says}"
    for problem in found.planned.problems:
        yield f"  not valid: {problem}"
    for kind, odd in (
        ("Degraded", "True"),
        ("RestartPending", "True"),
        ("UpgradePending", "True"),
        ("PoolersReady", "False"),
    ):
        condition = conditions.get(kind, {})
        if condition.get("status") == odd:
            since = age(_time(condition.get("lastTransitionTime")), found.now)
            word = _SAID.get(kind, kind.lower())
            yield f"{word} for {since}: {condition.get('reason')}: {condition.get('message')}"
    yield from (f"  {name} {what}" for name, what in found.members)
    yield from _plan(found)
    yield from (f"  note: {note}" for note in (*found.planned.passed_over, *found.planned.notes))
    if found.events:
        yield "last events:"
    for event in found.events:
        said = f"{event.get('reason')}: {' '.join(str(event.get('message', '')).split())}"
        colour = "bad" if event.get("type") == "Warning" else "quiet"
        yield f"  {age(_when(event), found.now):>4}  {coloured(said, colour)}"


def headline(of: Planned, conditions: Mapping[str, Mapping[str, Any]]) -> str:
    """Ready or not, and why, in one line."""
    ready = conditions.get("Ready", {})
    said = ready.get("message") or "the operator has not looked at it yet"
    if ready.get("status") == "True":
        return f"{coloured(of.key, 'strong')} is {coloured('ready', 'good')}: {said}"
    return f"{coloured(of.key, 'strong')} is {coloured('not ready', 'bad')}: {said}"


def _plan(found: Explained) -> Iterable[str]:
    plan = found.planned.plan
    if plan.steps:
        step = plan.steps[0]
        more = f" (and {len(plan.steps) - 1} more: howdah plan {found.planned.name})" if len(plan.steps) > 1 else ""
        yield f"next step: {action(step)}: {step.reason}{more}"
    for held in plan.held:
        yield f"held: {action(held.step)}: {held.why}"
    if plan.stopped is not None:
        yield f"stopped: {plan.stopped}"
    for wait in plan.waits:
        yield f"waits for: {wait.why}"
    yield f"next look: {_next_look(found)}"


def _next_look(found: Explained) -> str:
    if found.operator.acts is False:
        return "when an operator acts on it"
    seconds = found.planned.plan.next_look_s
    if found.planned.plan.steps:
        return "at once" if found.operator.acts else "at once, if an operator acts on it"
    if seconds is not None:
        return f"within {seconds:g} s, or as soon as something changes"
    return f"when something changes, at the latest at the resync (every {found.resync_s / 60:g} min)"


def _data(found: Explained) -> dict[str, Any]:
    events = [
        {
            "time": _when(event).isoformat(),
            "type": event.get("type"),
            "reason": event.get("reason"),
            "message": event.get("message"),
        }
        for event in found.events
    ]
    return {
        "plan": as_data(found.planned),
        "status": dict(found.status),
        "members": [{"name": name, "says": what} for name, what in found.members],
        "operator": found.operator.says,
        "nextLook": _next_look(found),
        "events": events,
    }


def _when(event: Object) -> dt.datetime:
    said = event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp")
    return _time(said) or dt.datetime.fromtimestamp(0, dt.UTC)


def _time(text_: Any) -> dt.datetime | None:
    return dt.datetime.fromisoformat(str(text_).replace("Z", "+00:00")) if text_ else None

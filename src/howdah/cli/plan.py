"""`howdah plan`: what the operator would do now, or if a manifest were applied, and why; nothing is done."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

from howdah.adapters import kubernetes
from howdah.adapters.kubernetes import POSTGRESQLS
from howdah.cli.documents import clusters, read_documents
from howdah.cli.exits import Exit, Failed
from howdah.cli.operator_settings import OperatorSettings, find_settings
from howdah.cli.options import Connection
from howdah.cli.output import TEXT, check_format, coloured, print_data, print_problems, say
from howdah.controller.look import Looked, as_applied, directory, judge, observe_live
from howdah.controller.observe import utc_now
from howdah.controller.teams import Directory
from howdah.core.deletion import deletion_policy, plan_deletion
from howdah.core.plan import Apply, Plan, RunStatements, Step
from howdah.core.planners import decide
from howdah.kube.client import Client
from howdah.model.errors import InvalidSpec, Problem
from howdah.model.names import Pause, pause_of
from howdah.model.observed import Live, Observed

_SUFFIXES = (".yaml", ".yml", ".json")
_CHANGES_SHOWN = 8
COSTS = {
    "patch": "patch, no pod is touched",
    "roll": "roll, pods are replaced one by one",
    "replace": "replace, the object is made anew and its pods stay",
}
"""What a difference costs, in words."""


@dataclass(frozen=True, slots=True)
class Planned:
    """The plan for one cluster, or why there is none."""

    namespace: str
    name: str
    plan: Plan = field(default_factory=Plan)
    notes: tuple[str, ...] = ()
    warnings: tuple[Problem, ...] = ()
    problems: tuple[Problem, ...] = ()
    passed_over: tuple[str, ...] = ()  # why the operator with these settings does nothing of it
    doubt: str | None = None  # why the operator may have other settings than these; told on stderr already

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"


def print_plans(connection: Connection, what: Sequence[str], output: str, *, asks_teams: bool = True) -> None:
    """Of files (`-`, or a path) and of names; of all resources of the namespace without any. Raises Failed (2).

    What the teams API does not answer is told on stderr, and decides nothing.
    """
    check_format(output)
    files = [Path(word) for word in what if is_file(word)]
    asked = [word for word in what if not is_file(word)]
    documents = clusters(read_documents(files))
    if files and not documents:
        raise Failed("no postgresql resource in the files given", Exit.INVALID)

    async def work(client: Client, namespace: str) -> tuple[list[Planned], tuple[str, ...]]:
        operator = await find_settings(client)
        bodies = [document.in_namespace(connection.namespace or namespace).body for document in documents]
        names = asked or ([] if files else await _names(client, namespace))
        async with _teams(client, operator, is_asked=asks_teams) as teams:
            found = [await plan_of_manifest(client, operator, body, teams) for body in bodies]
            found += [await plan_of(client, operator, namespace, name, teams) for name in names]
            return found, teams.problems() if teams is not None else ()

    plans, unanswered = connection.run(work)
    if output == TEXT:
        for line in _text(plans):
            say(line)
    else:
        print_data([as_data(planned) for planned in plans], output)
    for problem in unanswered:
        say(f"{problem}; nobody is taken for gone", to=sys.stderr)
    for planned in plans:
        print_problems(planned.problems, where=planned.key)
    if any(planned.problems for planned in plans):
        raise Failed("not valid; the operator leaves the cluster as it is", Exit.INVALID)


def is_file(word: str) -> bool:
    """Whether a word of the command line is a manifest: no name of a resource looks like that."""
    return word == "-" or "/" in word or word.endswith(_SUFFIXES)


@asynccontextmanager
async def _teams(client: Client, operator: OperatorSettings, *, is_asked: bool) -> AsyncIterator[Directory | None]:
    if not is_asked:
        yield None
        return
    async with directory(client, operator.settings, operator.namespace) as found:
        yield found


async def _names(client: Client, namespace: str) -> list[str]:
    listed = await client.list(POSTGRESQLS, namespace=namespace)
    return sorted(str(item["metadata"]["name"]) for item in listed.items)


async def plan_of(
    client: Client, operator: OperatorSettings, namespace: str, name: str, teams: Directory | None = None
) -> Planned:
    """Of a stored resource. Raises Failed (3) without one."""
    observed = await observe_live(client, operator.settings, namespace, name, now=utc_now())
    if observed is None:
        raise Failed(f"{namespace}/{name}: no such postgresql resource", Exit.NOT_FOUND)
    return await planned(client, operator, observed, teams)


async def plan_of_manifest(
    client: Client, operator: OperatorSettings, body: Mapping[str, Any], teams: Directory | None = None
) -> Planned:
    """As if the manifest were applied."""
    namespace, name = body["metadata"]["namespace"], str(body["metadata"].get("name", ""))
    stored = await kubernetes.read_resource(client, namespace, name) if name else None
    return await planned_with(client, operator, as_applied(body, stored), teams)


async def planned_with(
    client: Client, operator: OperatorSettings, resource: Live, teams: Directory | None = None
) -> Planned:
    """With another resource than the stored one."""
    meta = resource.meta
    observed = await observe_live(
        client, operator.settings, meta.namespace, meta.name, now=utc_now(), resource=resource
    )
    if observed is None:
        return Planned(meta.namespace, meta.name)
    return await planned(client, operator, observed, teams)


async def planned(
    client: Client, operator: OperatorSettings, observed: Observed, teams: Directory | None = None
) -> Planned:
    """Judged and decided as the operator does; without `teams` their API is not asked."""
    meta = observed.resource.meta
    found = await _decided(client, operator, observed, teams)
    reasons = (operator.unwatched(meta.namespace), operator.of_another(meta.annotations))
    return replace(found, passed_over=tuple(filter(None, reasons)), doubt=operator.doubt)


async def _decided(client: Client, operator: OperatorSettings, observed: Observed, teams: Directory | None) -> Planned:
    meta = observed.resource.meta
    if meta.deletion_timestamp is not None:
        paused = pause_of(meta.annotations or {}) is not Pause.NONE
        decision = plan_deletion(observed, deletion_policy(operator.settings), paused=paused)
        plan = Plan(steps=decision.steps, waits=decision.waits, held=decision.held)
        return Planned(meta.namespace, meta.name, plan, notes=("the resource is being deleted",))
    try:
        looked = await judge(client, operator.settings, operator.namespace, observed, directory=teams)
    except InvalidSpec as invalid:
        return Planned(meta.namespace, meta.name, problems=invalid.problems)
    return Planned(
        meta.namespace,
        meta.name,
        decide(looked.situation),
        notes=notes_of(looked),
        warnings=looked.situation.cluster.warnings,
    )


def notes_of(looked: Looked) -> tuple[str, ...]:
    """What of the manifest is left as it is in the databases, or why nobody knows."""
    if looked.not_compared is not None:
        return (f"roles and databases are not compared: {looked.not_compared}",)
    return looked.situation.database.unmet


def _text(plans: Iterable[Planned]) -> Iterable[str]:
    empty = True
    for planned in plans:
        empty = False
        yield from text(planned)
    if empty:
        yield "no postgresql resources"


def text(planned: Planned) -> Iterable[str]:
    """For people: steps in order, what is held, what is waited for."""
    plan = planned.plan
    if planned.problems:
        yield f"{coloured(planned.key, 'strong')}: {coloured('not valid', 'bad')}"
        yield from (f"  note: {note}" for note in planned.passed_over)
        return
    count = len(plan.steps)
    said = "nothing to do" if plan.is_quiet else f"{count} step{'' if count == 1 else 's'}"
    yield f"{coloured(planned.key, 'strong')}: {said}"
    for number, step in enumerate(plan.steps, 1):
        interrupts = coloured("  (interrupts connections)", "busy") if step.disruptive else ""
        yield f"{number:>4}  {action(step)}{interrupts}"
        yield f"      {coloured(step.reason, 'quiet')}"
        yield from (f"        {detail}" for detail in details(step))
    for held in plan.held:
        yield f"  held: {action(held.step)}: {held.step.reason}  ({held.why})"
        yield from (f"        {detail}" for detail in details(held.step))
    if plan.stopped is not None:
        yield f"  stopped: {plan.stopped}"
    for wait in plan.waits:
        yield f"  waits: {wait.why}  (looks again within {wait.seconds:g} s)"
    for wait in plan.later:
        yield f"  later: {wait.why}  (in {wait.seconds / 86400:.1f} days)"
    for note in (*planned.passed_over, *planned.notes):
        yield f"  note: {note}"
    for warning in planned.warnings:
        yield f"  warning: {warning}"


def action(step: Step) -> str:
    """What a step does to what: `create Secret NAME`, `run statements: database postgres`."""
    name = type(step).__name__
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name).split()
    if step.target.lower().startswith(f"{words[-1]} "):
        return " ".join([*words[:-1], step.target])
    return f"{' '.join(words)}{'' if len(words) == 1 else ':'} {step.target}"


def details(step: Step) -> tuple[str, ...]:
    """What a step consists of: changed paths, statements."""
    said: tuple[str, ...] = ()
    if isinstance(step, Apply):
        said = tuple(f"{path}: {COSTS[cost]}" if cost else path for path, cost in zip_longest(step.changes, step.costs))
    if isinstance(step, RunStatements):
        said = tuple(statement.reason for statement in step.statements if statement.reason != step.reason)
    more = len(said) - _CHANGES_SHOWN
    return (*said[:_CHANGES_SHOWN], f"… and {more} more") if more > 1 else said


def as_data(planned: Planned) -> dict[str, Any]:
    """For programs."""
    plan = planned.plan
    return {
        "namespace": planned.namespace,
        "name": planned.name,
        "steps": [_step(step) for step in plan.steps],
        "held": [{**_step(held.step), "why": held.why, "until": _moment(held.until)} for held in plan.held],
        "waits": [{"seconds": wait.seconds, "why": wait.why} for wait in plan.waits],
        "later": [{"seconds": wait.seconds, "why": wait.why} for wait in plan.later],
        "stopped": plan.stopped,
        "nextLookSeconds": plan.next_look_s,
        "notes": [*planned.passed_over, *planned.notes, *([planned.doubt] if planned.doubt is not None else ())],
        "warnings": [_problem(warning) for warning in planned.warnings],
        "problems": [_problem(problem) for problem in planned.problems],
    }


def _step(step: Step) -> dict[str, Any]:
    found = {"kind": type(step).__name__, "target": step.target, "reason": step.reason, "disruptive": step.disruptive}
    return {**found, "details": list(details(step))}


def _moment(moment: dt.datetime | None) -> str | None:
    return moment.isoformat() if moment is not None else None


def _problem(problem: Problem) -> dict[str, str]:
    return {"path": problem.path, "message": problem.message, "hint": problem.hint}

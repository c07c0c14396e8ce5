"""One pass over one cluster: observe → resolve → build → decide → apply → status. Create, update and repair are this path.

Nothing is kept between passes that a restart may lose: what is remembered here only saves work.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import Mapping
from itertools import takewhile
from typing import Any

import structlog

from howdah.adapters.kubernetes import read_pods, read_resource
from howdah.controller import observe
from howdah.controller.apply import Applier, Target
from howdah.controller.attempts import Attempts
from howdah.controller.builds import Builds, Built
from howdah.controller.copies import Copies
from howdah.controller.databases import Databases
from howdah.controller.environment import EnvironmentSecrets
from howdah.controller.fleet import Fleet
from howdah.controller.members import Members
from howdah.controller.metrics import Metrics
from howdah.controller.passes import (
    AFTER_CONFLICT_S,
    AFTER_MISSING_S,
    AFTER_UNREADABLE_S,
    SOON_S,
    PassResult,
    Patience,
    not_after,
    not_later,
)
from howdah.controller.references import ReferenceReader
from howdah.controller.telling import Teller
from howdah.controller.volumes import Volumes
from howdah.controller.watch import Watch
from howdah.core.deletion import deletion_policy, left_secrets, plan_deletion
from howdah.core.findings import findings_of
from howdah.core.intent import in_the_way, intent_of, without_intent
from howdah.core.patroni.member import Member
from howdah.core.plan import Plan, RestartMember, SetFinalizers, Step
from howdah.core.planners import decide
from howdah.core.resolve import UnresolvedSpec, label_keys
from howdah.core.silence import successors
from howdah.core.situation import Situation, look
from howdah.core.status import Event, Findings, Outcome, build_status
from howdah.kube.client import Client
from howdah.kube.errors import Conflict, Forbidden, KubeError
from howdah.kube.events import EventRecorder
from howdah.kube.informer import Key
from howdah.model import names
from howdah.model.errors import ExternalError, InvalidSpec, Problem
from howdah.model.names import pause_of
from howdah.model.observed import Live, Observed
from howdah.model.settings import Settings

_log = structlog.get_logger("howdah.pass")


class Reconciler:
    """Runs passes. One per process; one pass per cluster at a time (the queue sees to it)."""

    def __init__(
        self,
        *,
        client: Client,
        watch: Watch,
        applier: Applier,
        databases: Databases,
        volumes: Volumes,
        references: ReferenceReader,
        copies: Copies,
        fleet: Fleet,
        members: Members,
        recorder: EventRecorder,
        metrics: Metrics,
        settings: Settings,
        controller_id: str,
        observe_only: bool,
        clock: observe.Clock = observe.utc_now,
    ) -> None:
        self._client = client
        self._watch = watch
        self._applier = applier
        self._databases = databases
        self._volumes = volumes
        self._references = references
        self._copies = copies
        self._fleet = fleet
        self._members = members
        self._recorder = recorder
        self._metrics = metrics
        metrics.caches(malformed=lambda: watch.malformed() + references.malformed(), silence_s=watch.staleness_s)
        self._settings = settings
        self._controller_id = controller_id
        self._observe_only = observe_only
        self._clock = clock
        self._environment = EnvironmentSecrets(client)
        self._patience = Patience()
        self._attempts = Attempts(asyncio.get_running_loop().time)
        self.teller = Teller(client, recorder, applier.may_write, observe_only=observe_only)
        self.builds = Builds(settings, references, self._warn)

    async def run(self, key: Key) -> PassResult:
        """One pass. Failures of the outside world are in the result; a bug of ours is raised."""
        started = time.perf_counter()
        try:
            result = self._unreadable(key, await self._pass(key))
            self._patience.forget(key)
        except (KubeError, ExternalError) as error:  # a read: steps that fail are in the outcome
            _log.warning("pass failed", namespace=key[0], cluster=key[1], error=str(error))
            result = PassResult(again_in_s=self._patience.after_s(key, error), failed=str(error))
            if isinstance(error, Forbidden):
                await self._say_forbidden(key, error)
        took_s = time.perf_counter() - started
        self._metrics.passes.labels("failed" if result.failed else "ok").observe(took_s)
        again_s = None if result.again_in_s is None else round(result.again_in_s, 1)
        _log.debug("pass", namespace=key[0], cluster=key[1], took_ms=round(took_s * 1000, 1), again_in_s=again_s)
        if result.failed is None:
            self._metrics.last_success.set_to_current_time()
        return result

    async def _pass(self, key: Key) -> PassResult:
        observed = observe.from_caches(self._watch, key, self._clock())
        if observed is None:
            self._forget(key)
            return PassResult(is_gone=True)
        if (observed.resource.meta.annotation(names.CONTROLLER) or "") != self._controller_id:
            self._forget(key)
            return PassResult()
        if observed.resource.meta.deletion_timestamp is not None:
            return await self._delete(key, observed)
        try:
            built = await self.builds.of(key, observed)
        except InvalidSpec as invalid:
            return await self._refuse(key, observed, invalid)
        return await self._converge(key, built, observed)

    def _unreadable(self, key: Key, result: PassResult) -> PassResult:
        """Of a resource that cannot be read an event tells: its status is written only over the version that was read."""
        resource, why = self._watch.resource(key), self._watch.why_unreadable(key)
        if resource is None or why is None or result.again_in_s is None:  # without the latter it is another operator's
            return result
        self.teller.tell(resource, Event("Warning", "Unreadable", f"the cluster is left as it is: its resource {why}"))
        return dataclasses.replace(result, again_in_s=AFTER_UNREADABLE_S)

    # deleting

    async def _delete(self, key: Key, observed: Observed) -> PassResult:
        """What was seen before the resource was: a later one of its name can have made nothing of that."""
        selector = label_keys(self._settings).selector(key[1])
        pods = await read_pods(self._client, key[0], ",".join(f"{k}={v}" for k, v in sorted(selector.items())))
        resource = await read_resource(self._client, *key)  # last: see above
        if resource is None or resource.meta.uid != observed.resource.meta.uid:
            return PassResult(again_in_s=AFTER_CONFLICT_S)
        meta = resource.meta
        observed = observe.own(dataclasses.replace(observed, resource=resource, pods=pods))
        observed = observe.with_foreign_secrets(self._watch, observed)
        paused = pause_of(meta.annotations or {}) is not names.Pause.NONE
        policy = deletion_policy(self._settings)
        decision = plan_deletion(observed, policy, paused=paused)
        plan = Plan(steps=decision.steps, waits=decision.waits, held=decision.held, lacks=decision.lacks)
        outcome = await self._carry_out(Target(*key, meta.uid), plan.steps)
        for held in plan.held:
            self.teller.tell(observed.resource, Event("Warning", "DeletionHeld", held.why))
        if any(isinstance(s, SetFinalizers) for s in outcome.done) and (left := left_secrets(observed, policy)):
            self.teller.tell(observed.resource, Event("Warning", "SecretsLeft", left))
        if names.FINALIZER in (meta.finalizers or ()) and not any(isinstance(s, SetFinalizers) for s in outcome.done):
            previous = resource.decoded_status()
            findings = Findings(generation=meta.generation, instances=0, is_deleting=True)
            status = build_status(previous, findings, plan, outcome, observed.now)
            await self.teller.write_status(key, resource, previous, status)
        return self._result(key, plan, outcome)

    def _forget(self, key: Key) -> None:
        self._databases.forget(key)
        self._volumes.forget(key)
        self._references.forget(key)
        self._copies.forget(key)
        self._fleet.forget(key)
        self._attempts.forget(key)
        self._patience.forget(key)
        self._environment.forget(key)
        self.builds.forget(key)
        self.teller.forget(key)

    # a manifest that cannot be acted on

    async def _refuse(self, key: Key, observed: Observed, invalid: InvalidSpec) -> PassResult:
        """The cluster stays as it is; the resource says every mistake."""
        again = PassResult(again_in_s=AFTER_MISSING_S if _awaits_others(invalid) else None)
        return await self._say_without_plan(key, observed, invalid.problems, Outcome()) or again

    async def _say_forbidden(self, key: Key, error: Forbidden) -> None:
        """A read that a pass cannot do without is not allowed."""
        observed = observe.from_caches(self._watch, key, self._clock())
        if observed is not None:
            await self._say_without_plan(key, observed, (), Outcome(error=str(error)))

    async def _say_without_plan(
        self, key: Key, observed: Observed, problems: tuple[Problem, ...], outcome: Outcome
    ) -> PassResult | None:
        """The status of a pass that could not decide anything: what was known of the servers stays said."""
        previous, known = observed.resource.decoded_status(), self.builds.known(key)
        meta = observed.resource.meta
        findings = Findings(meta.generation, 0, is_deleting=meta.deletion_timestamp is not None)
        if known is not None and not findings.is_deleting:
            findings = findings_of(self._situation(key, known, observed))
        findings = dataclasses.replace(findings, generation=meta.generation, problems=problems)
        status = build_status(previous, findings, Plan(), outcome, observed.now)
        if known is None:
            _keep_what_is_not_known(status, previous)
        return await self.teller.write_status(key, observed.resource, previous, status)

    # converging

    async def _converge(self, key: Key, built: Built, observed: Observed) -> PassResult:
        observed = observe.with_secrets(self._watch, observed, built.cluster.secrets)
        outdated = await self._environment.outdated(built.cluster, observed)
        observed = dataclasses.replace(observed, outdated_keys=outdated) if outdated else observed
        observed = dataclasses.replace(observed, outdated_copies=await self._copies.outdated(built.cluster, observed))
        situation = self._situation(key, built, observed)
        if others := successors(situation):
            leader = situation.members[situation.leader.name or ""]
            situation = dataclasses.replace(situation, successor=await self._members.successor(leader, others))
        plan = decide(situation)
        _log_plan(key, plan)
        target = Target(*key, observed.resource.meta.uid, situation)
        # A disruptive step that is refused may be so for days: what interrupts nobody does not wait for it.
        outcome = await self._carry_out(target, tuple(step for step in plan.steps if not step.disruptive))
        disruptive = next((step for step in plan.steps if step.disruptive), None)
        disrupted = Outcome()
        if disruptive is not None and not _is_held_up(disruptive, plan.steps, outcome) and not self._observe_only:
            disrupted = await self._disrupt(target, built, disruptive)
            outcome = _and_then(outcome, disrupted)
        undone: PassResult | None = None
        only_waits_for_a_window = any(held.until is not None for held in plan.held)
        if disruptive is None and outcome.permits_disruption and (not plan.waits or only_waits_for_a_window):
            undone = await self._withdraw(target, observed)
        self._fleet.note(key, situation, plan, outcome.done)
        unsaid = await self._say(key, situation, plan, _with_quarrels(outcome, self._attempts.quarrels(key)))
        result = not_later(undone or self._result(key, plan, outcome), self._attempts.left_s(key) or None)
        if disrupted.done or disrupted.is_conflict:  # whatever failed beside it
            result = not_later(result, SOON_S if disrupted.done else AFTER_CONFLICT_S)
        if unsaid is not None:
            result = unsaid if unsaid.failed is not None else not_later(result, unsaid.again_in_s)
        return not_after(result, built.cluster.rollout.version_held_until, observed.now)

    def _situation(
        self, key: Key, built: Built, observed: Observed, heard: Mapping[str, Member] | None = None
    ) -> Situation:
        without = look(
            built.cluster,
            built.intended,
            observed,
            heard=heard,
            budget=self._fleet.budget(key, self._settings.max_rolling_clusters),
            differences=self.builds.differences(key, built, observed),
        )
        storage = self._volumes.look(key, built.cluster, observed)
        return dataclasses.replace(without, database=self._databases.look(without), storage=storage)

    async def _disrupt(self, target: Target, built: Built, step: Step) -> Outcome:
        """Look live, decide again, announce, and only then interrupt somebody."""
        situation, key = target.for_situation(), (target.namespace, target.name)
        if (held := self._attempts.held_back(key, step)) is not None:
            return _failure(step, held.error)
        if self._attempts.rests(key, step):
            return Outcome()
        observed, heard = await self._look_live(situation)
        if observed is None:
            return _conflict(step, "the resource is gone")
        if _asked(observed.resource) != _asked(situation.observed.resource):
            return _conflict(step, "the resource has just changed")
        fresh = self._situation(key, built, observed, heard)
        again = next((s for s in decide(fresh).steps if s.disruptive), None)
        if again is None or (type(again), again.target) != (type(step), step.target):
            return _conflict(step, "a live look decides otherwise")
        if (why_not := in_the_way(fresh, again)) is not None:
            return _conflict(step, why_not)
        self._fleet.begin(key, fresh, again)  # nothing was awaited since the budget was asked
        try:
            intent = intent_of(again, observed.now)
            version = await self._applier.announce(target, intent, observed.resource.meta.resource_version)
        except Conflict as error:
            return _conflict(step, str(error))
        except KubeError as error:
            self._attempts.failed(key, step, str(error))
            return _failure(step, str(error))
        done = await self._carry_out(dataclasses.replace(target, situation=fresh), (again,))
        if done.failed is None and isinstance(again, RestartMember):
            # Patroni answers a restart when it is over, whether it helped or not: it holds up nothing any more.
            with contextlib.suppress(KubeError):
                await self._applier.withdraw(target, version)
        return done

    async def _look_live(self, situation: Situation) -> tuple[Observed | None, dict[str, Member]]:
        cluster = situation.cluster
        observed = await observe.live(
            self._client,
            situation.observed,
            selector=cluster.labels.selector_text,
            patroni_kind=cluster.names.leader_object[0],
            now=self._clock(),
        )
        if observed is None:
            return None, {}
        return observed, await self._members.hear(situation.members)

    async def _withdraw(self, target: Target, observed: Observed) -> PassResult | None:
        """When to try again, if it was not taken."""
        meta = observed.resource.meta
        is_paused = pause_of(meta.annotations or {}) is names.Pause.ALL
        if meta.annotation(names.DISRUPTION) is None or is_paused or self._observe_only:
            return None
        try:
            await self._applier.withdraw(target, meta.resource_version)
        except KubeError as error:
            _log.info("intent not withdrawn yet", namespace=target.namespace, cluster=target.name, error=str(error))
            return PassResult(again_in_s=AFTER_CONFLICT_S)
        return None

    async def _carry_out(self, target: Target, steps: tuple[Step, ...]) -> Outcome:
        key = (target.namespace, target.name)
        if self._observe_only:
            for step in steps:
                _log.info("would do", namespace=key[0], cluster=key[1], target=step.target, reason=step.reason)
            return Outcome()
        held_back = {
            id(step): held.error for step in steps if (held := self._attempts.held_back(key, step)) is not None
        }
        tried = tuple(takewhile(lambda step: id(step) not in held_back or not step.holds_up, steps))
        ready = tuple(step for step in tried if id(step) not in held_back and not self._attempts.rests(key, step))
        outcome = await self._applier.carry_out(target, ready)
        for failed, error in outcome.failures:
            self._attempts.failed(key, failed, error)
        for step in outcome.done:
            self._attempts.done(key, step)
        for step in outcome.at_work:
            self._attempts.at_work(key, step)
        wrong = held_back | {id(step): error for step, error in outcome.failures}
        return _with_failures(outcome, tuple((step, wrong[id(step)]) for step in steps if id(step) in wrong))

    # saying

    def _warn(self, resource: Live, problem: Problem) -> None:
        self.teller.tell(resource, Event("Warning", "ManifestWarning", str(problem)))

    async def _say(self, key: Key, situation: Situation, plan: Plan, outcome: Outcome) -> PassResult | None:
        resource = situation.observed.resource
        previous = self.teller.latest(key, resource).decoded_status()
        status = build_status(previous, findings_of(situation), plan, outcome, situation.observed.now)
        if any(isinstance(step, SetFinalizers) for step in outcome.done):
            return PassResult(again_in_s=SOON_S)  # the version that was seen is past, by our own hand
        return await self.teller.write_status(key, resource, previous, status)

    def _result(self, key: Key, plan: Plan, outcome: Outcome) -> PassResult:
        if outcome.error is not None and not outcome.is_conflict:
            result = PassResult(again_in_s=self._attempts.left_s(key) or SOON_S, failed=outcome.error)
            # What failed alone makes nobody slower: a roll that goes on looks again as early as without it.
            return not_later(result, _next_look_s(plan, outcome)) if outcome.permits_disruption else result
        if outcome.is_conflict and not outcome.done:
            return PassResult(again_in_s=AFTER_CONFLICT_S)
        return PassResult(again_in_s=_next_look_s(plan, outcome))


def _next_look_s(plan: Plan, outcome: Outcome) -> float | None:
    """When to look again after what was done, or begun, or is waited for."""
    if outcome.done:
        return SOON_S
    return AFTER_CONFLICT_S if outcome.at_work else plan.next_look_s


def _log_plan(key: Key, plan: Plan) -> None:
    """What was decided; reasons name no values."""
    if plan.is_quiet:
        return
    _log.debug(
        "decided",
        namespace=key[0],
        cluster=key[1],
        steps=[step.target for step in plan.steps],
        waits=[wait.why for wait in plan.waits],
        held=[f"{held.step.target}: {held.why}" for held in plan.held],
        stopped=plan.stopped,
    )


def _awaits_others(invalid: InvalidSpec) -> bool:
    """Whether another object may make the manifest right."""
    if isinstance(invalid, UnresolvedSpec):
        return True
    return any(problem.path.endswith(".credentialsSecret") for problem in invalid.problems)


def _with_failures(outcome: Outcome, failures: tuple[tuple[Step, str], ...]) -> Outcome:
    """`failures`: what failed now or is held back since it did; the first is one that holds up others, if there is any."""
    if not failures:
        return outcome
    if outcome.is_conflict:
        return dataclasses.replace(outcome, failures=failures)
    failed, error = next((one for one in failures if one[0].holds_up), failures[0])
    return dataclasses.replace(outcome, failed=failed, error=error, failures=failures)


def _keep_what_is_not_known(status: dict[str, Any], previous: Mapping[str, Any]) -> None:
    """Without a valid manifest since the operator's start, nothing new can be said of the servers."""
    said = {c["type"]: c for c in previous.get("conditions") or ()}
    told = ("Progressing", "Degraded")
    status["conditions"] = [c if c["type"] in told else said.get(c["type"], c) for c in status["conditions"]]
    status |= {name: previous[name] for name in ("members", "leader") if name in previous}


def _is_held_up(disruptive: Step, steps: tuple[Step, ...], outcome: Outcome) -> bool:
    """Whether of the steps that are to be done before it one stands against it."""
    before = {id(step) for step in takewhile(lambda step: step is not disruptive, steps)}
    return any(id(step) in before for step in outcome.hindrances)


def _failure(step: Step, error: str) -> Outcome:
    return Outcome(failed=step, error=error, failures=((step, error),))


def _conflict(step: Step, error: str) -> Outcome:
    return Outcome(failed=step, error=error, is_conflict=True)


def _and_then(before: Outcome, disrupted: Outcome) -> Outcome:
    """Both: what failed before the disruptive step stays said, whatever became of that."""
    is_told = before.failed is not None and not before.is_conflict
    told = before if is_told else disrupted
    return dataclasses.replace(
        told,
        done=before.done + disrupted.done,
        failures=before.failures + disrupted.failures,
        at_work=before.at_work + disrupted.at_work,
    )


def _with_quarrels(outcome: Outcome, quarrels: tuple[tuple[Step, str], ...]) -> Outcome:
    """What is undone by somebody is wrong all the time, not only in passes in which it is not done again."""
    if not quarrels:
        return outcome
    is_told = outcome.failed is not None and not outcome.is_conflict
    failed, error = (outcome.failed, outcome.error) if is_told else quarrels[0]
    return dataclasses.replace(
        outcome, failed=failed, error=error, is_conflict=False, failures=outcome.failures + quarrels
    )


def _asked(resource: Live) -> tuple[object, ...]:
    """What a person asks of the cluster by its resource: a disruptive step is only done for the newest of it."""
    meta = resource.meta
    return meta.uid, meta.generation, meta.labels, without_intent(meta.annotations), meta.deletion_timestamp

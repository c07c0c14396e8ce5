"""The operator process: wiring, leadership, and the loop that takes keys from the queue."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import structlog

from howdah.adapters import postgres
from howdah.adapters.answers import new_session
from howdah.adapters.aws.ec2 import Ec2
from howdah.adapters.kubernetes import POSTGRESQLS
from howdah.adapters.patroni import Patroni
from howdah.adapters.teams import TeamsApi
from howdah.controller import api, configuration, memory
from howdah.controller.apply import Applier, Target
from howdah.controller.configuration import CHECK_S, Following
from howdah.controller.copies import Copies
from howdah.controller.databases import Databases, Server
from howdah.controller.fleet import Fleet
from howdah.controller.lead import NotLeading, permit
from howdah.controller.log_level import LogLevel
from howdah.controller.members import Members
from howdah.controller.metrics import Metrics
from howdah.controller.observe import Clock, utc_now
from howdah.controller.reconcile import Reconciler
from howdah.controller.references import ReferenceReader
from howdah.controller.registration import register, report_losses
from howdah.controller.sources import Sources
from howdah.controller.teams import Directory
from howdah.controller.token import Token
from howdah.controller.volumes import Volumes
from howdah.controller.watch import Scope, Watch
from howdah.core.plan import Step
from howdah.core.request.identity import role_binding_name
from howdah.core.request.roles import token_reference
from howdah.kube.client import Client
from howdah.kube.credentials import Access
from howdah.kube.election import LeaderElection
from howdah.kube.errors import Forbidden, KubeError
from howdah.kube.events import EventRecorder, Reference
from howdah.kube.informer import Key
from howdah.kube.lease import LeaseTimes
from howdah.kube.queue import WorkQueue
from howdah.model import names
from howdah.model.settings import Settings

CONFIGURATION_RETRY_S = 1.0
SHORTEST_RESYNC_S = 1.0  # whatever the configuration says: a mistake there must not make a hot loop over all clusters
MOMENT_S = 1.0  # what nobody waits for waits so long for company, or for what somebody does wait for
PASSES_AT_A_TIME = 1024  # a pass mostly waits; what bounds the load is the client's number of open requests

_log = structlog.get_logger("howdah.operator")


@dataclass(frozen=True, slots=True)
class Options:
    """How the process was started."""

    access: Access
    environment: Mapping[str, str]
    observe_only: bool = False
    listen_host: str = ""  # every address: probes and Prometheus come from outside the pod, by IPv4 or IPv6
    listen_port: int | None = None  # None: the operator's api_port
    configuration_check_s: float = CHECK_S
    log_level: LogLevel = field(default_factory=LogLevel)

    @property
    def operator_namespace(self) -> str:
        return self.environment.get("OPERATOR_NAMESPACE") or self.access.namespace or "default"

    @property
    def controller_id(self) -> str:
        """Which clusters are ours: those that name it, or without one those that name none."""
        return self.environment.get("CONTROLLER_ID", "")


async def run(options: Options) -> None:
    """Run until SIGTERM or SIGINT; a changed configuration wires everything anew, in the same process."""
    memory.prepare()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    metrics = Metrics()
    where = configuration.source(options.environment, options.operator_namespace)
    async with Client(options.access, concurrency=64, observe=metrics.api_call) as client:
        async with _probes_while_waiting(options, metrics) as told:
            current = await _configured(client, where, stop, told)
        following = Following(
            client, where, in_force=metrics.configuration_is_in_force, check_s=options.configuration_check_s
        )
        while current is not None and not stop.is_set():
            options.log_level.take_up(current.settings)
            for warning in current.warnings:
                _log.warning("configuration", source=str(where), warning=str(warning))
            _log.info("configured", source=str(where), version=current.version, observe_only=options.observe_only)
            async with _probes_while_waiting(options, metrics) as told:
                told.why = "the definitions are being registered"
                if current.settings.enable_crd_registration and not options.observe_only:
                    await register(client, current.settings.crd_categories, stop)
                await report_losses(client, current.settings.crd_categories)
            operator = Operator(client, options, current.settings, metrics)
            changed = asyncio.create_task(following.next(current, operator.say))
            await operator.run(stop, changed)
            current = changed.result() if changed.done() and not changed.cancelled() else None


class _Told:
    """Why there is no configuration yet."""

    why: str | None = "the configuration is being read"


@contextlib.asynccontextmanager
async def _probes_while_waiting(options: Options, metrics: Metrics) -> AsyncIterator[_Told]:
    """Before it works a process is alive and not ready: a liveness probe must not make it a crash loop.

    Only with `--listen`: where the configuration says the port, it is not known yet.
    """
    told = _Told()
    if options.listen_port is None:
        yield told
        return
    app = api.application(metrics.registry, is_alive=lambda: None, is_ready=lambda: told.why)
    runner = await api.serve(app, options.listen_host, options.listen_port)
    try:
        yield told
    finally:
        await runner.cleanup()


async def _configured(
    client: Client, where: configuration.Source, stop: asyncio.Event, told: _Told
) -> configuration.Configuration | None:
    """The configuration, as soon as it can be read; None when told to stop before that. Raises InvalidSpec."""
    while not stop.is_set():
        try:
            return await configuration.read(client, where)
        except KubeError as error:
            told.why = f"no configuration yet: {error}"
            _log.warning("configuration not read yet", source=str(where), error=str(error))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), CONFIGURATION_RETRY_S)
    return None


class Election(Protocol):
    """Who leads: `kube.election.LeaderElection`, or a simulated one."""

    @property
    def alive(self) -> bool: ...

    @property
    def last_error(self) -> KubeError | None: ...

    def is_leading(self) -> bool: ...

    def start(self) -> None: ...

    async def stop(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Edges:
    """Where an operator touches what is not the Kubernetes API; a simulated world puts its own here.

    `election` gets what to call when leading begins and ends. `when_full` is called when the caches are.
    """

    postgres: Server = postgres
    election: Callable[[Callable[[], None], Callable[[], None]], Election] | None = None  # None: by Lease
    clock: Clock = utc_now
    when_full: Callable[[], None] = memory.settle
    now_and_then: Callable[[], None] = memory.give_back


REAL = Edges()


class Operator:
    """One operator with one configuration."""

    def __init__(
        self, client: Client, options: Options, settings: Settings, metrics: Metrics, edges: Edges = REAL
    ) -> None:
        self._client = client
        self._edges = edges
        self._options = options
        self._settings = settings
        self._metrics = metrics
        self._queue: WorkQueue[Key] = WorkQueue(on_error=self._bug)
        self._watch = Watch(client, scope(settings, options), self._notify, self._notify_soon, clock=edges.clock)
        self._sources = Sources(
            client,
            settings,
            operator_namespace=options.operator_namespace,
            namespaces=self._watch.scope.namespaces,
            notify=self._heard,
            token_changed=lambda: self._directory.try_again(),
        )
        token = Token(client, options.operator_namespace, token_reference(settings), self._sources)
        self._directory = Directory(TeamsApi(settings.teams_api_url), token=token, notify=self._notify)
        self._recorder = EventRecorder(client, "postgres-operator", on_failure=_event_lost)
        self._fleet = Fleet(self._watch.cluster_keys)
        self._election = self._make_election()
        self._databases: Databases | None = None
        self._reconciler: Reconciler | None = None
        self._is_ready = False

    def _make_election(self) -> Election:
        settings = self._settings
        if self._edges.election is not None:
            return self._edges.election(self._gained, self._lost)
        times = LeaseTimes(
            duration_s=settings.leader_lease_duration.seconds,
            renew_deadline_s=settings.leader_renew_deadline.seconds,
            retry_s=settings.leader_retry_period.seconds,
        )
        return LeaderElection(
            self._options.access,
            names.lease(self._options.controller_id),
            namespace=self._options.operator_namespace,
            times=times,
            on_gain=self._gained,
            on_loss=self._lost,
            observe=self._metrics.api_call,
        )

    async def run(self, stop: asyncio.Event, changed: asyncio.Task[Any]) -> None:
        """Run until stopped, or until the configuration changed."""
        async with AsyncExitStack() as stack:
            session = await stack.enter_async_context(new_session())
            runner = await api.serve(
                api.application(self._metrics.registry, is_alive=self._why_dead, is_ready=self.why_not_ready),
                self._options.listen_host,
                self._settings.api_port if self._options.listen_port is None else self._options.listen_port,
            )
            stack.push_async_callback(runner.cleanup)
            await self.work(Patroni(session), asyncio.create_task(stop.wait()), changed)

    async def work(self, patroni: Patroni, *until: asyncio.Task[Any]) -> None:
        """All but the HTTP endpoints, until one of `until` ends."""
        self._wire(Members(self._client, patroni, permit(self._may_write)))
        works = (self._watch.run(), self._sources.run(), self._recorder.run(), self._lead(), self._keep_house())
        tasks: list[asyncio.Task[Any]] = [*(asyncio.create_task(work) for work in works), *until]
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._directory.close()
        if self._databases is not None:
            await self._databases.close()
        if self._election.alive:  # before all that is told: nobody works for the clusters until another leads
            await self._election.stop()
        if lost := await self._recorder.flush():
            _log.warning("events not written: the API server took too long", events=lost)
        for task in ended:
            task.result()

    def _wire(self, members: Members) -> None:
        refresh_s = self._settings.resync_period.seconds
        self._databases = databases = Databases(
            self._client,
            notify=self._queue.add,
            refresh_s=refresh_s,
            permit=permit(self._may_write),
            server=self._edges.postgres,
        )
        volumes = Volumes(
            self._client,
            Ec2(self._settings.aws_region, self._options.environment),
            notify=self._queue.add,
            refresh_s=refresh_s,
            permit=permit(self._may_write),
            clock=self._edges.clock,
        )
        place = self._options.operator_namespace
        applier = Applier(
            self._client,
            members,
            databases,
            volumes,
            may_write=self._may_write,
            told=self._told,
            sees_shared=self._watch.sees_shared,
            operator_namespace=place,
        )
        self._metrics.watch(
            clusters_by_phase=self._clusters_by_phase, queue_depth=lambda: self._queue.depth, denied=self._denied
        )
        self._reconciler = Reconciler(
            client=self._client,
            watch=self._watch,
            applier=applier,
            databases=databases,
            references=ReferenceReader(self._client, place, self._sources, self._directory),
            copies=Copies(self._client, place, self._sources.version),
            volumes=volumes,
            fleet=self._fleet,
            members=members,
            recorder=self._recorder,
            metrics=self._metrics,
            settings=self._settings,
            controller_id=self._options.controller_id,
            observe_only=self._options.observe_only,
            clock=self._edges.clock,
        )

    async def _lead(self) -> None:
        """Fill the caches, then stand for election, then work. Who does not lead keeps its caches warm."""
        await self._watch.synced()
        await self._sources.synced()
        self._edges.when_full()
        self._is_ready = True
        _log.info("caches are full", clusters=len(self._watch.cluster_keys()))
        if self._options.observe_only:
            self._gained()
        else:
            self._election.start()
        await self._queue.run(self._work, concurrency=PASSES_AT_A_TIME)

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(memory.GIVE_BACK_EVERY_S)
            self._edges.now_and_then()

    async def _work(self, key: Key) -> None:
        if self._reconciler is None or not self._may_write():
            self._look_again(key)
            return
        try:
            result = await self._reconciler.run(key)
        except NotLeading:
            self._look_again(key)
            return
        finally:
            if self._watch.resource(key) is not None:
                self._fleet.seen(key)  # also after a bug: one odd manifest must not hold up the rolls of all others
        self._queue.forget(key)  # only a bug of ours makes the queue back off; see attempts.py for the rest
        if result.is_gone:
            return
        self._look_again(key, result.again_in_s)

    def _look_again(self, key: Key, in_s: float | None = None) -> None:
        """At the resync at the latest: also where this pass could not be, for leading may return before its end was told."""
        resync_s = max(SHORTEST_RESYNC_S, self._settings.resync_period.seconds) * random.uniform(0.9, 1.1)
        self._queue.after(key, min(resync_s, in_s or resync_s))

    def say(self, about: Reference, kind: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        """Record an event about the operator itself; one of several replicas does, the one that leads."""
        if not self._options.observe_only and self._election.is_leading():
            self._recorder.record(about, reason, message, type=kind)

    # callbacks

    def _notify(self, key: Key) -> None:
        if self._may_write():
            self._queue.add(key)

    def _notify_soon(self, key: Key) -> None:
        if self._reconciler is not None and self._may_write():
            self._queue.after(key, self._reconciler.teller.pace_s(MOMENT_S))

    def _heard(self, key: Key | None) -> None:
        """News of one cluster, or (None) of all."""
        for one in self._watch.cluster_keys() if key is None else (key,):
            self._notify(one)

    def _gained(self) -> None:
        _log.info("leading")
        self._metrics.leading.set(1)
        for key in {*self._watch.cluster_keys(), *self._fleet.keys}:  # the latter: what has gone since we led last
            self._queue.add(key)

    def _lost(self) -> None:
        self._metrics.leading.set(0)
        if self._reconciler is not None:
            self._reconciler.teller.phases.clear()  # from now on somebody else knows
        if self._databases is not None:
            self._databases.end_statements()

    def _may_write(self) -> bool:
        """An observer decides and never writes, so it need not lead."""
        return self._options.observe_only or self._election.is_leading()

    def _told(self, target: Target, step: Step, error: str | None) -> None:
        kind = type(step).__name__
        self._metrics.steps.labels(kind, "failed" if error else "done").inc()
        _log.info(
            "step", namespace=target.namespace, cluster=target.name, step=kind, target=step.target, reason=step.reason,
            error=error,
        )  # fmt: skip
        about = Reference(POSTGRESQLS, target.name, target.namespace, target.uid)
        if error is not None:
            self._recorder.record(about, f"{kind}Failed", f"{step.target}: {error}", type="Warning")
        elif step.disruptive:
            self._recorder.record(about, kind, f"{step.target}: {step.reason}")

    def _bug(self, key: Key, error: Exception) -> None:
        _log.error("a pass failed by a bug", namespace=key[0], cluster=key[1], exc_info=error)

    def _clusters_by_phase(self) -> Mapping[str, int]:
        """Of who works on them alone: a standby counts none, for its leader tells of the same clusters."""
        if self._reconciler is None or not self._may_write():
            return {}
        phases = self._reconciler.teller.phases
        return Counter(phases.get(key, "") for key in self._watch.cluster_keys())

    def _denied(self) -> tuple[tuple[str, str], ...]:
        return tuple(one.place for one in self._watch.denied)

    def _why_dead(self) -> str | None:
        if not self._options.observe_only and self._is_ready and not self._election.alive:
            return "the leader election has ended"
        return None

    def why_not_ready(self) -> str | None:
        """What `/readyz` answers; None when all is well."""
        if not self._is_ready:
            return f"caches are not full yet: {', '.join(self._watch.not_synced)}"
        if isinstance(self._election.last_error, Forbidden):
            return f"cannot lead: {self._election.last_error}"
        why = self._watch.why_blind
        return f"cannot see clusters: {why}" if why is not None else None


def _event_lost(error: KubeError) -> None:
    _log.warning("event not written", error=str(error))


def scope(settings: Settings, options: Options) -> Scope:
    """What to watch."""
    watched = configuration.watched_namespaces(settings, options.environment, options.operator_namespace)
    account = settings.pod_service_account_name
    return Scope(
        namespaces=(None,) if watched is None else watched,
        labels=settings.cluster_labels,
        cluster_label=settings.cluster_name_label,
        service_account=account,
        role_binding=role_binding_name(settings),
    )

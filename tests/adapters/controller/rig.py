"""One reconciler against the fake API server and a Patroni that answers on loopback; the test runs its passes by hand."""

import asyncio
import datetime as dt
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from howdah.adapters import postgres
from howdah.adapters.answers import new_session
from howdah.adapters.aws.ec2 import Ec2
from howdah.adapters.kubernetes import EVENT_STREAMS, POSTGRES_TEAMS, POSTGRESQLS
from howdah.adapters.patroni import Patroni
from howdah.adapters.teams import TeamsApi
from howdah.controller.apply import Applier, Target
from howdah.controller.copies import Copies
from howdah.controller.databases import Databases, Server
from howdah.controller.fleet import Fleet
from howdah.controller.lead import permit
from howdah.controller.members import Members
from howdah.controller.metrics import Metrics
from howdah.controller.observe import utc_now
from howdah.controller.passes import PassResult
from howdah.controller.reconcile import Reconciler
from howdah.controller.references import ReferenceReader
from howdah.controller.sources import Sources
from howdah.controller.teams import Directory
from howdah.controller.token import Token
from howdah.controller.volumes import Cloud, Volumes
from howdah.controller.watch import Scope, Watch
from howdah.core.plan import Step
from howdah.core.request.roles import token_reference
from howdah.kube.client import Client
from howdah.kube.events import EventRecorder
from howdah.kube.informer import Informer
from howdah.kube.resources import CONFIGMAPS, CONTROLLER_REVISIONS, EVENTS, PODS, STATEFUL_SETS, Resource
from howdah.kube.testing import FakeKubernetes, Request
from howdah.kube.testing.store import Writer
from howdah.model import names
from howdah.model.settings import Settings, settings_from_configmap
from steady import HANGS_S

NAMESPACE, NAME = "ns", "acid-a"
KEY = (NAMESPACE, NAME)
LABELS = {"application": "spilo", "cluster-name": NAME}
OPTIONS = {
    "kubernetes_use_configmaps": "true",
    "enable_master_load_balancer": "false",
    "enable_database_access": "false",  # reading databases has tests of its own
}
Json = dict[str, Any]


@dataclass(slots=True)
class PatroniApi:
    """The REST APIs of the members, told apart by their ports."""

    ports: list[int] = field(default_factory=list)
    leader: int = 0  # ordinal
    commands: list[tuple[str, str, Any]] = field(default_factory=list)  # (member, path, body)
    silent: set[int] = field(default_factory=set)
    hanging: set[int] = field(default_factory=set)
    vouching: set[int] = field(default_factory=set)  # for their leader, in failsafe mode
    judge: Callable[[], int] = lambda: 200  # what a command is answered with

    def url(self, ordinal: int) -> str:
        return f"http://127.0.0.1:{self.ports[ordinal]}/patroni"

    async def answer(self, request: web.Request) -> web.Response:
        assert request.transport is not None
        ordinal = self.ports.index(request.transport.get_extra_info("sockname")[1])
        if ordinal in self.silent:
            return web.Response(status=500)
        if ordinal in self.hanging:
            await asyncio.sleep(60)
        if request.method == "GET":
            return web.json_response(self.state(ordinal))
        self.commands.append((f"{NAME}-{ordinal}", request.path, await request.json()))
        return web.json_response({}, status=self.judge())

    def state(self, ordinal: int) -> Json:
        if ordinal == self.leader:
            return {"state": "running", "role": "primary", "timeline": 1}
        vouching = {"failsafe_mode_is_active": True} if ordinal in self.vouching else {}
        return {"state": "running", "role": "replica", "replication_state": "streaming", "timeline": 1, **vouching}


@asynccontextmanager
async def patroni_api(members: int) -> AsyncIterator[PatroniApi]:
    api = PatroniApi()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    for _ in range(members):
        await web.TCPSite(runner, "127.0.0.1", 0).start()
    api.ports = [address[1] for address in runner.addresses]
    try:
        yield api
    finally:
        await runner.cleanup()


@dataclass(slots=True)
class Rig:
    """What a test holds in its hands."""

    kube: FakeKubernetes
    client: Client
    watch: Watch
    applier: Applier
    reconciler: Reconciler
    recorder: EventRecorder
    fleet: Fleet
    api: PatroniApi
    told: list[tuple[Step, str | None]]
    leads: list[bool]  # its last item is whether the operator leads
    sources: Sources

    # the world

    def create(self, annotations: Mapping[str, str] | None = None, **spec: Any) -> None:
        """A resource as a person creates it."""
        body = {
            "metadata": {"name": NAME, "namespace": NAMESPACE, "annotations": dict(annotations or {})},
            "spec": {
                "teamId": "acid",
                "numberOfInstances": 3,
                "postgresql": {"version": "18"},
                "volume": {"size": "1Gi"},
                **spec,
            },
        }
        self.kube.store.seed(POSTGRESQLS, body)

    def change(self, resource: Resource, name: str, change: Mapping[str, Any]) -> None:
        """Somebody else writes: top-level parts are merged, one level deep."""

        def merged(live: Json) -> Json:
            return {**live, **{key: {**(live.get(key) or {}), **value} for key, value in change.items()}}

        self.kube.store.patch(resource, (NAMESPACE, name), merged, Writer("somebody"))

    def read(self, resource: Resource, name: str = NAME) -> Json:
        return self.kube.store.read(resource, NAMESPACE, name)

    def find(self, resource: Resource, name: str = NAME) -> Json | None:
        return self.kube.store.find(resource, NAMESPACE, name)

    @property
    def status(self) -> Json:
        return self.read(POSTGRESQLS).get("status") or {}

    def condition(self, kind: str) -> tuple[str, str, str]:
        found = next(c for c in self.status["conditions"] if c["type"] == kind)
        return found["status"], found["reason"], found["message"]

    def populate(self, revision: str = "current") -> None:
        """What StatefulSet controller, kubelet and Patroni would make: three members of the template that stands."""
        template = self.read(STATEFUL_SETS)["spec"]["template"]
        self.revision(revision, template)
        for ordinal in range(3):
            self.pod(ordinal, revision)
        now = dt.datetime.now(dt.UTC).isoformat()
        self._config_map("leader", {"leader": f"{NAME}-{self.api.leader}", "ttl": "30", "renewTime": now})
        self._config_map("config", {"config": json.dumps({"ttl": 30}), "initialize": "7000"})

    def revision(self, name: str, template: Mapping[str, Any]) -> None:
        metadata = {"name": name, "namespace": NAMESPACE, "labels": LABELS}
        body = {"metadata": metadata, "data": {"spec": {"template": template}}, "revision": 1}
        self.kube.store.seed(CONTROLLER_REVISIONS, body)

    def pod(self, ordinal: int, revision: str = "current") -> None:
        heartbeat = {**self.api.state(ordinal), "api_url": self.api.url(ordinal), "xlog_location": 1000}
        metadata = {
            "name": f"{NAME}-{ordinal}",
            "namespace": NAMESPACE,
            "labels": {**LABELS, names.REVISION_LABEL: revision},
            "annotations": {"status": json.dumps(heartbeat)},
        }
        status = {
            "phase": "Running",
            "podIP": "127.0.0.1",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "postgres", "ready": True, "state": {"running": {}}}],
        }
        self.kube.store.seed(PODS, {"metadata": metadata, "spec": {"containers": []}, "status": status})

    def _config_map(self, part: str, annotations: Mapping[str, str]) -> None:
        metadata = {"name": f"{NAME}-{part}", "namespace": NAMESPACE, "labels": LABELS, "annotations": annotations}
        self.kube.store.seed(CONFIGMAPS, {"metadata": metadata})

    # the operator

    async def one_pass(self) -> PassResult:
        """One pass, on caches that have everything."""
        await self.caught_up()
        return await self.reconciler.run(KEY)

    async def passes(self, most: int = 10) -> None:
        """Passes until one writes nothing; events are written too."""
        for _ in range(most):
            before = len(self.writes())
            await self.one_pass()
            await self.recorder.flush()
            if len(self.writes()) == before:
                return
        raise AssertionError(f"still writing after {most} passes: {self.writes()[-1]}")

    async def running(self, **spec: Any) -> None:
        """A cluster that the operator has made, with its members, at rest; what it took is forgotten."""
        self.create(**spec)
        await self.passes()
        self.populate()
        await self.passes()
        self.forget()

    def forget(self) -> None:
        self.kube.requests.clear()
        self.told.clear()

    def writes(self) -> list[Request]:
        """What was asked to change, without events."""
        return [request for request in self.kube.writes() if request.resource != "events"]

    def events(self) -> list[tuple[str, str]]:
        found = self.kube.store.select(EVENTS, NAMESPACE, lambda _: True)
        return [(event["type"], event["reason"]) for event in found]

    def target(self) -> Target:
        return Target(NAMESPACE, NAME, self.read(POSTGRESQLS)["metadata"]["uid"])

    async def caught_up(self) -> None:
        """Wait until the caches have what the server has."""
        async with asyncio.timeout(HANGS_S):
            informers = informers_of(self.watch)
            count = len(self.watch.scope.namespaces)  # each kind has one informer per namespace, in their order
            while any(
                self._is_late(informer, self.watch.scope.namespaces[index % count] or "")
                for index, informer in enumerate(informers)
            ):
                await asyncio.sleep(0.002)

    def _is_late(self, informer: Informer[Any], namespace: str) -> bool:
        wanted = {_version(o) for o in self.kube.store.select(informer.resource, namespace, lambda _: True)}
        held = {(o.metadata.name, o.metadata.uid, o.metadata.resource_version) for o in informer}
        if informer.resource.plural in ("serviceaccounts", "rolebindings", "postgresqls"):
            return wanted != held
        applications: tuple[str, ...] = (
            ("spilo", names.POOLER_APPLICATION) if " in (" in informer.labels else ("spilo",)
        )
        if informer.resource.plural == "cronjobs":
            applications = ("spilo", names.BACKUP_APPLICATION)
        labelled = self.kube.store.select(
            informer.resource,
            namespace,
            lambda o: (o["metadata"].get("labels") or {}).get("application") in applications,
        )
        return {_version(o) for o in labelled} != held


def _version(body: Json) -> tuple[str, str, str]:
    metadata = body["metadata"]
    return metadata["name"], metadata["uid"], metadata["resourceVersion"]


def informers_of(watch: Watch) -> tuple[Informer[Any], ...]:
    parts = (
        watch.clusters,
        watch.pods,
        watch.claims,
        watch.configmaps,
        watch.endpoints,
        watch.secrets,
        watch.revisions,
    )
    return tuple(informer for part in (*parts, *watch.owned.values(), *watch.shared.values()) for informer in part)


@asynccontextmanager
async def rig(
    *,
    observe_only: bool = False,
    controller_id: str = "",
    options: Mapping[str, str] | None = None,
    namespaces: tuple[str, ...] = (NAMESPACE,),
    beforehand: Callable[[FakeKubernetes], None] = lambda kube: None,
    world: FakeKubernetes | None = None,
    server: Server = postgres,
    cloud: Cloud | None = None,
) -> AsyncIterator[Rig]:
    """Everything wired as in the process, but for queue, Lease and databases; of its own, or over another one's `world`."""
    settings: Settings = settings_from_configmap({**OPTIONS, **(options or {})})[0]
    async with (
        FakeKubernetes(POSTGRESQLS, POSTGRES_TEAMS, EVENT_STREAMS) if world is None else nullcontext(world) as kube,
        kube.client(timeout_s=5) as client,
        new_session() as session,
        patroni_api(3) as api,
    ):
        beforehand(kube)
        scope = Scope(namespaces, settings.cluster_labels, settings.cluster_name_label, "postgres-pod", "postgres-pod")
        watch = Watch(client, scope, lambda _: None)
        told: list[tuple[Step, str | None]] = []
        leads = [True]
        may_write = permit(lambda: leads[-1])
        members = Members(client, Patroni(session), may_write)
        databases = Databases(client, notify=lambda _: None, refresh_s=1800, permit=may_write, server=server)
        volumes = Volumes(
            client, cloud or Ec2("", {}), notify=lambda _: None, refresh_s=1800, permit=may_write, clock=utc_now
        )
        applier = Applier(
            client,
            members,
            databases,
            volumes,
            may_write=lambda: leads[-1],
            told=lambda _, step, error: told.append((step, error)),
            sees_shared=watch.sees_shared,
            operator_namespace=NAMESPACE,
        )
        sources = Sources(
            client, settings, operator_namespace=NAMESPACE, namespaces=(NAMESPACE,), notify=lambda _: None
        )
        token = Token(client, NAMESPACE, token_reference(settings), sources)
        directory = Directory(TeamsApi(settings.teams_api_url), token=token, notify=lambda _: None)
        fleet, recorder = Fleet(watch.cluster_keys), EventRecorder(client, "postgres-operator")
        reconciler = Reconciler(
            client=client,
            watch=watch,
            applier=applier,
            databases=databases,
            volumes=volumes,
            references=ReferenceReader(client, NAMESPACE, sources, directory),
            copies=Copies(client, NAMESPACE, sources.version),
            fleet=fleet,
            members=members,
            recorder=recorder,
            metrics=Metrics(),
            settings=settings,
            controller_id=controller_id,
            observe_only=observe_only,
        )
        watching = (asyncio.create_task(watch.run()), asyncio.create_task(sources.run()))
        async with asyncio.timeout(HANGS_S):
            await watch.synced()
            await sources.synced()
        try:
            yield Rig(kube, client, watch, applier, reconciler, recorder, fleet, api, told, leads, sources)
        finally:
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)
            await directory.close()

"""One cluster as the API has it at this moment, judged as the operator judges it: for people who ask, without any cache.

The same code decides (`core.situation.look`, `core.planners.decide`); only where the observation comes from differs.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime as dt
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from howdah.adapters import kubernetes
from howdah.adapters.kubernetes import EVENT_STREAMS, RESOURCES
from howdah.adapters.teams import TIMEOUT_S, TeamsApi
from howdah.controller import observe
from howdah.controller.copies import Copies
from howdah.controller.databases import Databases
from howdah.controller.environment import EnvironmentSecrets
from howdah.controller.lead import permit
from howdah.controller.references import ReferenceReader, asking
from howdah.controller.teams import Directory
from howdah.controller.token import Token
from howdah.core.alignment import differences
from howdah.core.facts import live_facts
from howdah.core.objects.build import build
from howdah.core.plan import FleetBudget
from howdah.core.request.identity import role_binding_name
from howdah.core.request.roles import heeds_teams, token_reference
from howdah.core.resolve import label_keys, resolve
from howdah.core.situation import Situation, look
from howdah.kube.client import Client
from howdah.kube.errors import Forbidden, NotFound
from howdah.kube.resources import CONTROLLER_REVISIONS, NODES, PERSISTENT_VOLUME_CLAIMS, SECRETS
from howdah.model import names
from howdah.model.observed import Claim, Live, Node, Observed, Pod, Revision, SecretMeta
from howdah.model.settings import Settings

DATABASES_TIMEOUT_S = 30.0
ANSWER_TIMEOUT_S = TIMEOUT_S + 5.0
"""For the token and the answer of the teams API."""
_OWNED = ("StatefulSet", "Service", "PodDisruptionBudget", "Deployment")


@dataclass(frozen=True, slots=True)
class Looked:
    """A judged cluster; `not_compared` says why its roles and databases could not be read from here."""

    situation: Situation
    not_compared: str | None = None


async def observe_live(
    client: Client, settings: Settings, namespace: str, name: str, *, now: dt.datetime, resource: Live | None = None
) -> Observed | None:
    """The cluster as it is now; None without a resource. `resource`: judge by this one instead of the stored one."""
    found = resource if resource is not None else await kubernetes.read_resource(client, namespace, name)
    if found is None:
        return None
    selector = label_keys(settings).selector(name)
    labels = names.selector_text(selector)
    wide = names.selector_with_poolers(selector)

    pods, configmaps, endpoints, secrets = await asyncio.gather(
        kubernetes.read_pods(client, namespace, labels),
        kubernetes.read_patroni(client, namespace, labels, "ConfigMap"),
        kubernetes.read_patroni(client, namespace, labels, "Endpoints"),
        _secrets(client, namespace, wide),
    )
    claims, revisions, objects, streams = await asyncio.gather(
        client.list(PERSISTENT_VOLUME_CLAIMS, namespace=namespace, labels=labels, type=Claim),
        client.list(CONTROLLER_REVISIONS, namespace=namespace, labels=labels, type=Revision),
        _objects(client, settings, namespace, selector),
        _event_streams(client, namespace, labels),
    )
    nodes = await _nodes(client, pods)
    seen = Observed(
        now=now,
        resource=found,
        pods=pods,
        claims=claims.items,
        objects={**objects, **(streams or {})},
        serves_event_streams=streams is not None,
        secrets={(s.metadata.namespace, s.metadata.name): s for s in secrets},
        patroni={**configmaps, **endpoints},
        nodes=nodes,
        templates=observe.templates(pods, revisions.items, Revision.template),
        revisions=revisions.items,
    )
    return observe.own(seen)


async def _secrets(client: Client, namespace: str, labels: str) -> tuple[SecretMeta, ...]:
    """Of all namespaces, for a role's Secret may be in another; of the cluster's own where only that may be read."""
    try:
        found = await client.list(SECRETS, labels=labels, type=SecretMeta, metadata_only=True)
    except Forbidden:
        found = await client.list(SECRETS, namespace=namespace, labels=labels, type=SecretMeta, metadata_only=True)
    return found.items


async def _objects(
    client: Client, settings: Settings, namespace: str, selector: Mapping[str, str]
) -> dict[tuple[str, str], Live]:
    shared = {"ServiceAccount": settings.pod_service_account_name, "RoleBinding": role_binding_name(settings)}
    asked = [(kind, names.selector_with_poolers(selector), "") for kind in _OWNED]
    asked += [("CronJob", names.selector_with_backups(selector), "")]
    asked += [(kind, "", f"metadata.name={name}") for kind, name in shared.items()]
    answers = await asyncio.gather(
        *(
            client.list(RESOURCES[kind], namespace=namespace, labels=which, fields=fields, type=Live)
            for kind, which, fields in asked
        )
    )
    return {
        (kind, found.metadata.name): found
        for (kind, _, _), answer in zip(asked, answers, strict=True)
        for found in answer.items
    }


async def _nodes(client: Client, pods: Iterable[Pod]) -> dict[str, Node]:
    """Those that the pods are on; nothing where the one who asks may not see them."""
    found: dict[str, Node] = {}
    for name in sorted({pod.spec.node_name for pod in pods if pod.spec.node_name}):
        with contextlib.suppress(NotFound, Forbidden):
            found[name] = await client.get(NODES, name, type=Node)
    return found


async def _event_streams(client: Client, namespace: str, labels: str) -> dict[tuple[str, str], Live] | None:
    """None where the kind is not installed, or may not be seen."""
    try:
        found = await client.list(EVENT_STREAMS, namespace=namespace, labels=labels, type=Live)
    except (NotFound, Forbidden):
        return None
    return {(names.STREAM_KIND, item.metadata.name): item for item in found.items}


def as_applied(body: Mapping[str, Any], stored: Live | None) -> Live:
    """The resource that a manifest would become: its spec, over the metadata of the stored one."""
    asked = body.get("metadata") or {}
    metadata: dict[str, Any] = {"generation": 1}
    if stored is not None:
        metadata = stored.body(names.API_VERSION, names.KIND)["metadata"] | {"generation": stored.meta.generation + 1}
    for part in ("labels", "annotations"):
        metadata[part] = {**(metadata.get(part) or {}), **(asked.get(part) or {})}
    whole = {"metadata": {**metadata, "name": asked.get("name"), "namespace": asked.get("namespace")}}
    return msgspec.json.decode(msgspec.json.encode({**whole, "spec": body.get("spec") or {}}), type=Live)


@asynccontextmanager
async def directory(client: Client, settings: Settings, operator_namespace: str) -> AsyncIterator[Directory | None]:
    """The teams API, asked as the operator asks it, once for each team; None where it is not to be asked.

    The token is the operator's, from its Secret: who may not read that gets no answer, as if the API were away.
    """
    if not (settings.enable_teams_api and heeds_teams(settings)):
        yield None
        return
    token = Token(client, operator_namespace, token_reference(settings), sources=None)
    api = TeamsApi(settings.teams_api_url)
    found = Directory(api, token=token, notify=lambda _: None, first_answer_s=ANSWER_TIMEOUT_S)
    try:
        yield found
    finally:
        await found.close()


async def judge(
    client: Client,
    settings: Settings,
    operator_namespace: str,
    observed: Observed,
    *,
    directory: Directory | None = None,
) -> Looked:
    """What the operator would see in it; without `directory` the teams API is not asked. Raises InvalidSpec."""
    meta = observed.resource.meta
    references = await ReferenceReader(client, operator_namespace, directory=directory).of(
        settings, (meta.namespace, meta.name), asking(observed.resource)
    )
    raw = observed.resource.body(names.API_VERSION, names.KIND)
    raw["metadata"]["generation"] = meta.generation
    cluster = resolve(raw, settings, references, live_facts(observed))
    intended = build(cluster)
    copies = await Copies(client, operator_namespace).outdated(cluster, observed)
    observed = dataclasses.replace(observed, outdated_copies=copies)
    found = {
        place: differences(body, live)
        for body in intended
        if (live := observed.objects.get(place := (body["kind"], body["metadata"]["name"]))) is not None
    }
    with contextlib.suppress(Forbidden):  # who may not read it is not told whether it differs
        keys = await EnvironmentSecrets(client).outdated(cluster, observed)
        observed = dataclasses.replace(observed, outdated_keys=keys)
    budget = FleetBudget(limit=settings.max_rolling_clusters)
    situation = look(cluster, intended, observed, budget=budget, differences=found)
    return await _with_databases(client, situation)


async def _with_databases(client: Client, situation: Situation) -> Looked:
    """One look into the databases. The operator may reach them where we do not: a failure of ours is no state of theirs."""
    if not situation.manages_databases:
        return Looked(situation)
    if situation.cluster.access.sends_clear_text:
        # The address of a pod is nobody's here: in the network that this machine is in, it may be that of another host.
        why = f"annotation {names.CLEAR_TEXT_PASSWORD} is for the operator alone, which sends the password from inside"
        return Looked(situation, why)
    ended = asyncio.Event()
    databases = Databases(
        client, notify=lambda _: ended.set(), refresh_s=DATABASES_TIMEOUT_S * 2, permit=permit(lambda: False)
    )
    key = (situation.cluster.key.namespace, situation.cluster.key.name)
    databases.look(situation)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DATABASES_TIMEOUT_S):
            await ended.wait()
    seen = databases.look(situation)
    databases.forget(key)
    if seen.error is not None or not seen.is_known:
        return Looked(situation, seen.error or f"no answer in {DATABASES_TIMEOUT_S:g} s")
    return Looked(dataclasses.replace(situation, database=seen))

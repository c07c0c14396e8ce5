"""Our kinds over the generic client: which resource a kind is, and the reads that a live look needs. Decides nothing."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from howdah.kube import resources as r
from howdah.kube.client import Client
from howdah.kube.errors import NotFound
from howdah.kube.resources import Resource
from howdah.model import names
from howdah.model.observed import Live, PatroniObject, Pod

POSTGRESQLS = Resource("acid.zalan.do", "v1", "postgresqls", "postgresql")
OPERATOR_CONFIGURATIONS = Resource("acid.zalan.do", "v1", "operatorconfigurations", "OperatorConfiguration")
EVENT_STREAMS = Resource("zalando.org", "v1", "fabriceventstreams", names.STREAM_KIND)
POSTGRES_TEAMS = Resource("acid.zalan.do", "v1", "postgresteams", "PostgresTeam")

RESOURCES: Mapping[str, Resource] = {
    resource.kind: resource
    for resource in (
        POSTGRESQLS,
        EVENT_STREAMS,
        r.CONFIGMAPS,
        r.CONTROLLER_REVISIONS,
        r.DEPLOYMENTS,
        r.CRON_JOBS,
        r.ENDPOINTS,
        r.PERSISTENT_VOLUME_CLAIMS,
        r.PODS,
        r.POD_DISRUPTION_BUDGETS,
        r.ROLE_BINDINGS,
        r.SECRETS,
        r.SERVICES,
        r.SERVICE_ACCOUNTS,
        r.STATEFUL_SETS,
    )
}


async def read_resource(client: Client, namespace: str, name: str) -> Live | None:
    """The `postgresql` resource as it is now; None when it is gone."""
    try:
        return await client.get(POSTGRESQLS, name, namespace=namespace, type=Live)
    except NotFound:
        return None


async def read_pods(client: Client, namespace: str, selector: str) -> tuple[Pod, ...]:
    """The cluster's members as they are now, by ordinal; without a label of applications a pooler's pods match, too."""
    found = await client.list(r.PODS, namespace=namespace, labels=f"{selector},!{names.POOLER_LABEL}", type=Pod)
    return tuple(sorted(found.items, key=lambda pod: pod.ordinal))


async def read_patroni(
    client: Client, namespace: str, selector: str, kind: str
) -> dict[tuple[str, str], PatroniObject]:
    """Patroni's ConfigMaps or Endpoints as they are now, by (kind, name)."""
    found = await client.list(RESOURCES[kind], namespace=namespace, labels=selector, type=PatroniObject)
    return {(kind, item.metadata.name): item for item in found.items}


async def read_secret(client: Client, namespace: str, name: str) -> Mapping[str, bytes] | None:
    """The decoded data of a Secret; None when it is gone. Never logged, never cached here."""
    try:
        secret = await client.get(r.SECRETS, name, namespace=namespace)
    except NotFound:
        return None
    return {key: base64.b64decode(value) for key, value in (secret.get("data") or {}).items()}

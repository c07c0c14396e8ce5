"""`howdah orphans`: objects of clusters whose resource is gone. The operator reports them; only people remove them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from howdah.adapters.kubernetes import POSTGRESQLS, RESOURCES
from howdah.cli.operator_settings import find_settings
from howdah.cli.options import Connection
from howdah.cli.output import TEXT, check_format, print_data, say, table
from howdah.kube.client import Client
from howdah.model import names
from howdah.model.observed import Meta, SecretMeta

KINDS: Mapping[str, Callable[[Mapping[str, str]], str]] = {
    "StatefulSet": names.selector_with_poolers,
    "Deployment": names.selector_with_poolers,
    "Pod": names.selector_with_poolers,
    "PersistentVolumeClaim": names.selector_with_poolers,
    "Service": names.selector_with_poolers,
    "Endpoints": names.selector_with_poolers,
    "ConfigMap": names.selector_with_poolers,
    "PodDisruptionBudget": names.selector_with_poolers,
    "Secret": names.selector_with_poolers,
    "CronJob": names.selector_with_backups,
}
"""What is looked for, and the selector of its labels."""


@dataclass(frozen=True, slots=True, order=True)
class Orphan:
    """An object that carries the labels of a cluster that is not there."""

    namespace: str
    cluster: str
    kind: str
    name: str


def print_orphans(connection: Connection, output: str) -> None:
    """Of the namespace given, else of all."""
    check_format(output)

    async def work(client: Client, namespace: str) -> list[Orphan]:
        del namespace
        settings = (await find_settings(client)).settings
        return await find_orphans(client, settings.cluster_labels, settings.cluster_name_label, connection.namespace)

    found = connection.run(work)
    if output != TEXT:
        fields = ("namespace", "cluster", "kind", "name")
        print_data([{field: getattr(one, field) for field in fields} for one in found], output)
        return
    if not found:
        say("no orphans")
        return
    rows = [(one.namespace, one.cluster, one.kind, one.name) for one in found]
    for line in table(("NAMESPACE", "CLUSTER", "KIND", "NAME"), rows):
        say(line)


async def find_orphans(
    client: Client, labels: Mapping[str, str], cluster_label: str, namespace: str | None
) -> list[Orphan]:
    """Read as metadata only: of Secrets and volumes nothing else is of interest."""
    answers = await asyncio.gather(
        *(
            client.list(RESOURCES[kind], namespace=namespace, labels=which(labels), type=SecretMeta, metadata_only=True)
            for kind, which in KINDS.items()
        )
    )
    # After their objects: a cluster that is made meanwhile is there when it is looked for.
    resources = await client.list(POSTGRESQLS, type=SecretMeta, metadata_only=True)
    present = {(item.metadata.namespace, item.metadata.name) for item in resources.items}
    everything = [(kind, item.metadata) for kind, answer in zip(KINDS, answers, strict=True) for item in answer.items]
    return sorted(orphans(everything, present, cluster_label))


def orphans(objects: Iterable[tuple[str, Meta]], present: set[tuple[str, str]], cluster_label: str) -> Iterable[Orphan]:
    """A role's Secret may be in another namespace than its cluster: what it says counts, else any cluster of that name."""
    clusters = {name for _, name in present}
    for kind, meta in objects:
        cluster = meta.label(cluster_label)
        said = meta.annotation(names.CLUSTER) if kind == "Secret" else None
        if not cluster or _has_cluster(kind, (meta.namespace, cluster), said, present, clusters):
            continue
        yield Orphan(meta.namespace, cluster, kind, meta.name)


def _has_cluster(
    kind: str, near: tuple[str, str], said: str | None, present: set[tuple[str, str]], clusters: set[str]
) -> bool:
    if said is not None:
        return tuple(said.split("/")) in present
    return near in present or (kind == "Secret" and near[1] in clusters)

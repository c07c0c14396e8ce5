"""A logical backup asked for by hand: what `kubectl create job --from=cronjob/NAME` posts runs, and a dump is in the store."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from adapters.backup.stores import BUCKET, KEY, S3, SECRET, s3
from e2e.clusters import PostgresCluster
from e2e.world import until
from howdah.kube.errors import NotFound
from howdah.kube.resources import CRON_JOBS, JOBS, SECRETS

pytestmark = pytest.mark.local_platform("the store listens on loopback")

NAME = "acid-backup"
CREDENTIALS = f"{NAME}-store"


@pytest.fixture
def store() -> Iterator[S3]:
    with s3() as running:
        yield running


def as_kubectl_makes_it(cron: dict[str, Any], name: str) -> dict[str, Any]:
    """As kubectl 1.36 posts it: the template's own labels, and a reference without blockOwnerDeletion."""
    template = cron["spec"]["jobTemplate"]
    marks = template.get("metadata") or {}
    owner = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "name": cron["metadata"]["name"],
        "uid": cron["metadata"]["uid"],
        "controller": True,
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "annotations": {"cronjob.kubernetes.io/instantiate": "manual", **(marks.get("annotations") or {})},
            "labels": marks.get("labels"),
            "ownerReferences": [owner],
        },
        "spec": template["spec"],
        "status": {},
    }


async def test_a_job_made_of_the_cronjob_by_hand_dumps_the_cluster(
    cluster_named: Callable[[str], PostgresCluster], store: S3
) -> None:
    cluster = cluster_named(NAME)
    client, namespace = cluster.client, cluster.namespace
    keys = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    await client.create(SECRETS, {"metadata": {"name": CREDENTIALS}, "stringData": keys}, namespace=namespace)
    target = {
        "provider": "s3",
        "bucket": BUCKET,
        "region": "us-east-1",
        "endpoint": store.endpoint,
        "credentialsSecret": CREDENTIALS,
    }
    try:
        await cluster.create(
            enableLogicalBackup=True, logicalBackupSchedule="0 0 1 1 *", logicalBackup={"target": target}
        )
        await cluster.settled()
        cron = await client.get(CRON_JOBS, f"logical-backup-{NAME}", namespace=namespace)
        await client.create(JOBS, as_kubectl_makes_it(cron, "backup-now"), namespace=namespace)
        await completed(cluster, "backup-now")
        (dump,) = store.objects()
        assert b"CREATE DATABASE foo" in gzip.decompress(await asyncio.to_thread(store.read, dump))
    finally:
        await client.delete(SECRETS, CREDENTIALS, namespace=namespace)
    await cluster.delete()
    await cluster.gone()
    await until(lambda: is_gone(cluster, "backup-now"), "the job to go with its CronJob")


async def completed(cluster: PostgresCluster, job: str) -> None:
    """Wait until it is; it must not have failed before."""
    found: dict[str, Any] = {}

    async def question() -> bool:
        nonlocal found
        found = await cluster.client.get(JOBS, job, namespace=cluster.namespace)
        status = found.get("status") or {}
        assert not status.get("failed"), status
        return bool(status.get("completionTime"))

    await until(question, lambda: f"{job} to end; status {found.get('status')}", timeout_s=40)


async def is_gone(cluster: PostgresCluster, job: str) -> bool:
    try:
        await cluster.client.get(JOBS, job, namespace=cluster.namespace)
    except NotFound:
        return True
    return False

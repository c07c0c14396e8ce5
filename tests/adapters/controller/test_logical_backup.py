"""The backup's CronJob and its credentials against an API server: made, kept quiet, brought back, removed."""

import base64

from adapters.controller.rig import NAME, NAMESPACE, rig
from howdah.adapters.kubernetes import POSTGRESQLS
from howdah.kube.resources import CRON_JOBS, SECRETS
from howdah.model import names

JOB = f"logical-backup-{NAME}"
SECRET = f"{NAME}-environment"
S3 = {"logical_backup_s3_access_key_id": "KEY", "logical_backup_s3_secret_access_key": "HUSH"}


def jobs(operator):
    return [o["metadata"]["name"] for o in operator.kube.store.select(CRON_JOBS, NAMESPACE, lambda _: True)]


def asked(operator):
    return [(request.verb, request.resource, request.name) for request in operator.writes()]


async def test_a_cluster_with_a_backup_is_at_rest_with_its_job():
    async with rig(options=S3) as operator:
        await operator.running(enableLogicalBackup=True)
        assert jobs(operator) == [JOB]
        await operator.one_pass()
        assert operator.kube.requests == []


async def test_a_changed_schedule_is_one_apply_and_switched_off_one_delete():
    async with rig() as operator:
        await operator.running(enableLogicalBackup=True)
        operator.change(POSTGRESQLS, NAME, {"spec": {"logicalBackupSchedule": "15 4 * * *"}})
        await operator.passes()
        applied = [verb for verb, resource, _ in asked(operator) if resource == "cronjobs"]
        assert applied == ["patch", "apply"], "its fields are taken over once, then it is applied"
        assert operator.read(CRON_JOBS, JOB)["spec"]["schedule"] == "15 4 * * *"
        operator.forget()
        operator.change(POSTGRESQLS, NAME, {"spec": {"enableLogicalBackup": False}})
        await operator.passes()
        assert ("delete", "cronjobs", JOB) in asked(operator)
        assert jobs(operator) == []


async def test_a_job_of_the_references_first_version_is_taken_over_and_goes_with_its_cluster():
    async with rig() as operator:
        await operator.running(enableLogicalBackup=True)
        made = operator.read(CRON_JOBS, JOB)
        operator.kube.store.delete(CRON_JOBS, (NAMESPACE, JOB))
        labels = {"application": "spilo", "cluster-name": NAME, "team": "acid"}
        entry = {"manager": "postgres-operator", "operation": "Update", "apiVersion": "batch/v1", "fieldsV1": {}}
        metadata = {"name": JOB, "namespace": NAMESPACE, "labels": labels, "managedFields": [entry]}
        operator.kube.store.seed(CRON_JOBS, {"metadata": metadata, "spec": made["spec"]})
        await operator.passes()
        assert "create" not in {verb for verb, resource, _ in asked(operator) if resource == "cronjobs"}
        assert operator.read(CRON_JOBS, JOB)["metadata"]["labels"] == {
            **labels,
            "application": names.BACKUP_APPLICATION,
        }
        assert operator.condition("Degraded")[0] == "False"
        operator.change(POSTGRESQLS, NAME, {"spec": {"enableLogicalBackup": False}})
        await operator.passes()
        assert jobs(operator) == []


async def test_a_job_of_somebody_with_the_same_labels_stays():
    async with rig() as operator:
        await operator.running()
        labels = {"application": names.BACKUP_APPLICATION, "cluster-name": NAME}
        entry = {"manager": "kubectl", "operation": "Update", "apiVersion": "batch/v1", "fieldsV1": {}}
        metadata = {"name": "mine", "namespace": NAMESPACE, "labels": labels, "managedFields": [entry]}
        operator.kube.store.seed(CRON_JOBS, {"metadata": metadata, "spec": {}})
        await operator.one_pass()
        assert jobs(operator) == ["mine"]


async def test_credentials_that_differ_from_what_is_spelled_out_are_replaced_once():
    async with rig(options=S3) as operator:
        await operator.running(enableLogicalBackup=True)
        stale = {
            "LOGICAL_BACKUP_AWS_ACCESS_KEY_ID": base64.b64encode(b"OLD").decode(),
            "LOGICAL_BACKUP_AZURE_STORAGE_ACCOUNT_KEY": "eA==",
            "OF_PEOPLE": "eA==",
        }
        operator.change(SECRETS, SECRET, {"data": stale})
        operator.forget()
        await operator.passes()
        held = {k: base64.b64decode(v).decode() for k, v in operator.read(SECRETS, SECRET)["data"].items()}
        ours = {"LOGICAL_BACKUP_AWS_ACCESS_KEY_ID": "KEY", "LOGICAL_BACKUP_AWS_SECRET_ACCESS_KEY": "HUSH"}
        assert held == {**ours, "OF_PEOPLE": "x"}
        assert asked(operator).count(("patch", "secrets", SECRET)) == 1
        assert "HUSH" not in repr(operator.told)

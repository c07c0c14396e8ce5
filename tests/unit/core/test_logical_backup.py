"""The job that dumps a cluster: its environment, where it may run, its credentials, and how it goes when switched off."""

from dataclasses import replace
from typing import Any

import pytest

from howdah.core.alignment import differences, missing_secrets
from howdah.core.deletion import deletion_policy, plan_deletion
from howdah.core.objects.build import build
from howdah.core.objects.diff import Effect
from howdah.core.obsolete import obsolete_objects
from howdah.core.plan import Delete, UpdateEnvironmentSecret
from howdah.core.resolve import Reference, References, UnresolvedSpec, resolve
from howdah.model import names
from howdah.model.names import is_member
from howdah.model.observed import Live, SecretMeta
from howdah.model.settings import default_settings, settings_from_configmap
from unit.core.clusters import NAME, cluster, decoded, live, manifest, resource, situation, three

Json = dict[str, Any]
S3 = {
    "logical_backup_s3_bucket": "b",
    "logical_backup_s3_access_key_id": "KEY",
    "logical_backup_s3_secret_access_key": "HUSH",
}


def job(settings: dict[str, str] | None = None, **spec: Any) -> Json:
    found = [b for b in build(cluster(None, settings, enableLogicalBackup=True, **spec)) if b["kind"] == "CronJob"]
    (body,) = found
    return body


def pod_of(body: Json) -> Json:
    template: Json = body["spec"]["jobTemplate"]["spec"]["template"]
    return template["spec"]


def env_of(body: Json) -> dict[str, Any]:
    entries = pod_of(body)["containers"][0]["env"]
    assert len({entry["name"] for entry in entries}) == len(entries), "server-side apply takes no name twice"
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in entries}


def test_no_job_unless_the_manifest_asks_for_one() -> None:
    assert cluster().logical_backup is None
    assert cluster(enableLogicalBackup=False).logical_backup is None
    assert not [body for body in build(cluster()) if body["kind"] == "CronJob"]


def test_schedule_and_retention_of_the_manifest_win_over_the_options() -> None:
    settings = {"logical_backup_schedule": "1 1 * * *", "logical_backup_s3_retention_time": "2 weeks"}
    mine = {"logicalBackupSchedule": "15 4 * * *", "logicalBackupRetention": "3 months"}
    assert job(settings)["spec"]["schedule"] == "1 1 * * *"
    assert env_of(job(settings))["LOGICAL_BACKUP_S3_RETENTION_TIME"] == "2 weeks"
    assert job(settings, **mine)["spec"]["schedule"] == "15 4 * * *"
    assert env_of(job(settings, **mine))["LOGICAL_BACKUP_S3_RETENTION_TIME"] == "3 months"


@pytest.mark.parametrize(
    ("prefix", "name", "expected"),
    [
        ("logical-backup-", "acid-a", "logical-backup-acid-a"),
        ("logical-backup-", "a" * 60, "logical-backup-" + "a" * 37),
        ("", "a" * 51 + "-b", "a" * 51),
        ("", "a" * 50 + "--b", "a" * 50),
    ],
)
def test_the_name_is_cut_to_52_characters_without_dashes_at_its_end(prefix: str, name: str, expected: str) -> None:
    assert names.backup_job(prefix, name) == expected


def test_credentials_are_references_to_a_secret_that_holds_them() -> None:
    asked = cluster(None, S3, enableLogicalBackup=True)
    assert asked.environment_secret is not None
    assert dict(asked.environment_secret.values) == {
        "LOGICAL_BACKUP_AWS_ACCESS_KEY_ID": "KEY",
        "LOGICAL_BACKUP_AWS_SECRET_ACCESS_KEY": "HUSH",
    }
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        said = {"name": "acid-a-environment", "key": f"LOGICAL_BACKUP_{name}"}
        assert env_of(job(S3))[name] == {"secretKeyRef": said}
    assert "HUSH" not in repr((asked, build(asked)))
    assert cluster(None, S3).environment_secret is None, "no job, no credentials"


def test_each_provider_has_its_own_variables() -> None:
    azure = {
        "logical_backup_provider": "az",
        "logical_backup_azure_storage_account_name": "account",
        "logical_backup_azure_storage_container": "box",
        "logical_backup_azure_storage_account_key": "HUSH",
    }
    found = env_of(job(azure))
    assert (found["LOGICAL_BACKUP_AZURE_STORAGE_ACCOUNT_NAME"], found["LOGICAL_BACKUP_AZURE_STORAGE_CONTAINER"]) == (
        "account",
        "box",
    )
    key = "LOGICAL_BACKUP_AZURE_STORAGE_ACCOUNT_KEY"
    assert found[key] == {"secretKeyRef": {"name": "acid-a-environment", "key": key}}
    assert "LOGICAL_BACKUP_S3_REGION" not in found
    google = {"logical_backup_provider": "gcs", "logical_backup_google_application_credentials": "/key.json"}
    assert env_of(job(google))["LOGICAL_BACKUP_GOOGLE_APPLICATION_CREDENTIALS"] == "/key.json"
    assert "LOGICAL_BACKUP_GOOGLE_APPLICATION_CREDENTIALS" not in env_of(job({"logical_backup_provider": "gcs"}))


def test_the_secret_of_variables_wins_and_is_required_only_where_there_is_a_job() -> None:
    settings = settings_from_configmap({"logical_backup_cronjob_environment_secret": "more"})[0]
    reference = Reference("Secret", "more", ("ns",))
    known = References(secret_keys={reference: ("PGSSLMODE", "HTTPS_PROXY")})
    body = next(
        b for b in build(resolve(manifest(enableLogicalBackup=True), settings, known)) if b["kind"] == "CronJob"
    )
    assert env_of(body)["PGSSLMODE"] == {"secretKeyRef": {"name": "more", "key": "PGSSLMODE"}}
    assert list(env_of(body))[-2:] == ["HTTPS_PROXY", "PGSSLMODE"]
    resolve(manifest(), settings)
    with pytest.raises(UnresolvedSpec) as error:
        resolve(manifest(enableLogicalBackup=True), settings)
    (problem,) = error.value.problems
    assert problem.path == "configuration.logical_backup.logical_backup_cronjob_environment_secret"


def test_an_amount_that_is_not_written_is_as_for_the_database() -> None:
    settings = {"default_cpu_request": "100m", "default_memory_limit": "500Mi", "logical_backup_cpu_request": "50m"}
    assert pod_of(job(settings))["containers"][0]["resources"] == {
        "requests": {"cpu": "50m"},
        "limits": {"memory": "500Mi"},
    }


def test_it_runs_on_nodes_that_are_ready_and_is_tolerant_like_the_database() -> None:
    settings = {"node_readiness_label": "ready:true", "toleration": "key:db,operator:Exists", "spilo_fsgroup": "103"}
    spec = pod_of(job(settings, nodeAffinity={"preferredDuringSchedulingIgnoredDuringExecution": []}))
    terms = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert terms == [{"matchExpressions": [{"key": "ready", "operator": "In", "values": ["true"]}]}]
    assert spec["tolerations"] == [{"key": "db", "operator": "Exists"}]
    assert spec["securityContext"] == {"fsGroup": 103}


def test_the_cloud_role_is_on_the_pod_only() -> None:
    body = job({"kube_iam_role": "role", "custom_pod_annotations": "a:b"})
    template = body["spec"]["jobTemplate"]
    assert body["metadata"]["annotations"] == template["metadata"]["annotations"] == {"a": "b"}
    assert template["spec"]["template"]["metadata"]["annotations"] == {"a": "b", names.KUBE2IAM_ROLE: "role"}


def test_a_literal_credential_of_an_adopted_job_becomes_a_reference_without_being_said() -> None:
    intended = job(S3)
    body = live(intended).body("batch/v1", "CronJob")
    for entry in pod_of(body)["containers"][0]["env"]:
        if entry["name"] == "AWS_SECRET_ACCESS_KEY":
            entry.clear()
            entry.update({"name": "AWS_SECRET_ACCESS_KEY", "value": "HUSH"})
    found = differences(intended, live(body))
    assert found
    assert {difference.effect for difference in found} == {Effect.PATCH}
    assert "HUSH" not in repr(found)


# --- switched off ------------------------------------------------------------------------------------------------------


def held_by(manager: str, name: str = "logical-backup-acid-a") -> Live:
    entry = {"manager": manager, "operation": "Update", "apiVersion": "batch/v1", "fieldsV1": {}}
    return live({"kind": "CronJob", "metadata": {"name": name, "namespace": "ns"}}, managedFields=[entry])


def with_job(found: Live, **spec: Any) -> Any:
    seen = situation(*three(), spec=spec)
    objects = {**seen.observed.objects, ("CronJob", found.meta.name): found}
    return replace(seen, observed=replace(seen.observed, objects=objects))


@pytest.mark.parametrize("manager", ["howdah", "postgres-operator"])
def test_a_job_that_is_not_asked_for_any_more_goes_and_a_running_dump_is_finished(manager: str) -> None:
    (step,) = obsolete_objects(with_job(held_by(manager))).steps
    assert isinstance(step, Delete)
    assert (step.kind, step.name, step.uid, step.propagation) == (
        "CronJob",
        "logical-backup-acid-a",
        "uid-of-CronJob-logical-backup-acid-a",
        "Orphan",
    )


def test_a_job_that_a_person_made_with_the_same_labels_stays() -> None:
    assert obsolete_objects(with_job(held_by("kubectl-client-side-apply"))).steps == ()


def test_a_job_that_is_asked_for_stays_and_one_of_another_prefix_goes() -> None:
    assert obsolete_objects(with_job(held_by("howdah"), enableLogicalBackup=True)).steps == ()
    (step,) = obsolete_objects(with_job(held_by("howdah", "dump-acid-a"), enableLogicalBackup=True)).steps
    assert step.target == "CronJob dump-acid-a"


def test_the_job_goes_first_when_the_cluster_is_deleted_and_only_its_own() -> None:
    policy = deletion_policy(default_settings()[0])
    seen = situation(*three()).observed
    mine, other = held_by("howdah"), held_by("howdah", "logical-backup-acid-b")
    objects = {**seen.objects, ("CronJob", mine.meta.name): mine, ("CronJob", other.meta.name): other}
    going = replace(seen, resource=resource(deleted=True), objects=objects)
    (step,) = plan_deletion(going, policy, paused=False).steps
    assert isinstance(step, Delete)
    assert (step.kind, step.name, step.propagation) == ("CronJob", mine.meta.name, "Background")


# --- the Secret of credentials -----------------------------------------------------------------------------------------


def test_changed_credentials_reach_the_secret_that_exists() -> None:
    seen = situation(*three(), spec={"enableLogicalBackup": True}, settings=S3)
    request = seen.cluster.environment_secret
    assert request is not None
    held = decoded(SecretMeta, {"metadata": {"name": request.name, "namespace": "ns", "uid": "uid-of-secret"}})
    there = {**seen.observed.secrets, (request.namespace, request.name): held}
    seen = replace(seen, observed=replace(seen.observed, secrets=there))
    assert missing_secrets(seen).steps == ()
    outdated = {(request.namespace, request.name): tuple(sorted(request.values))}
    (step,) = missing_secrets(replace(seen, observed=replace(seen.observed, outdated_keys=outdated))).steps
    assert isinstance(step, UpdateEnvironmentSecret)
    assert (step.name, step.uid) == (request.name, "uid-of-secret")
    assert "HUSH" not in repr(step)


@pytest.mark.parametrize(
    ("pod", "expected"),
    [("acid-a-0", True), ("acid-a-12", True), ("logical-backup-acid-a-29-x", False), ("acid-a-pooler-1", False)],
)
def test_pods_that_only_carry_the_labels_are_no_members(pod: str, expected: bool) -> None:
    assert is_member(pod, NAME) is expected

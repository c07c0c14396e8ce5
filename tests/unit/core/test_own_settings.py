"""What a manifest says for its cluster alone, where the reference has only options for all: stores, resources, images."""

from collections.abc import Mapping
from typing import Any

import pytest

from howdah.core.objects.build import build
from howdah.core.request.stores import KEYS
from howdah.core.resolve import Reference, References, UnresolvedSpec, required_references, resolve
from howdah.model import names
from howdah.model.cluster import Cluster
from howdah.model.errors import InvalidSpec, Problem
from howdah.model.settings import default_settings, settings_from_configmap
from unit.core.clusters import NAMESPACE, UID, cluster, manifest

Json = dict[str, Any]
STORE = Reference("Secret", "store-keys", (NAMESPACE,))
FROM_MAP = {
    "WAL_S3_BUCKET": "everybodys",
    "WALG_S3_PREFIX": "s3://everybodys/path",
    "AWS_ENDPOINT": "https://everybodys.example.com",
    "AWS_ACCESS_KEY_ID": "everybodys-key",
    "AWS_SECRET_ACCESS_KEY": "everybodys-secret",
    "BACKUP_SCHEDULE": "0 3 * * *",
}


def resolved(settings: Mapping[str, str] | None = None, keys: tuple[str, ...] | None = None, **spec: Any) -> Cluster:
    options = {"kubernetes_use_configmaps": "true", **(settings or {})}
    known = settings_from_configmap(options)[0]
    secrets = {STORE: keys} if keys is not None else {}
    maps = {}
    for reference in required_references(known, NAMESPACE):
        if reference.kind == "ConfigMap":
            maps[reference] = FROM_MAP
        else:
            secrets[reference] = tuple(FROM_MAP)
    return resolve(manifest(**spec), known, References(maps, secrets))


def environment(found: Cluster) -> dict[str, Any]:
    entries = found.postgres.body["env"]
    assert len({entry["name"] for entry in entries}) == len(entries)
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in entries}


def job(found: Cluster) -> Json:
    (body,) = [body for body in build(found) if body["kind"] == "CronJob"]
    pod: Json = body["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return pod


def job_environment(found: Cluster) -> dict[str, Any]:
    entries = job(found)["containers"][0]["env"]
    assert len({entry["name"] for entry in entries}) == len(entries)
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in entries}


def key_of_secret(key: str) -> Json:
    return {"secretKeyRef": {"name": "store-keys", "key": key}}


def problems(settings: Mapping[str, str] | None = None, keys: tuple[str, ...] | None = None, **spec: Any) -> list[str]:
    with pytest.raises(InvalidSpec) as caught:
        resolved(settings, keys, **spec)
    assert all(problem.hint for problem in caught.value.problems)
    return sorted(problem.path for problem in caught.value.problems)


# the archive


def test_an_archive_in_s3_is_said_to_spilo_with_credentials_by_reference() -> None:
    archive = {"provider": "s3", "bucket": "mine", "prefix": "team/a", "region": "eu-west-1", "forcePathStyle": True}
    found = environment(
        resolved(
            keys=KEYS["s3"], archive={**archive, "endpoint": "https://s3.test:9000", "credentialsSecret": "store-keys"}
        )
    )
    expected = {
        "WAL_S3_BUCKET": "mine/team/a",
        "WAL_BUCKET_SCOPE_SUFFIX": f"/{UID}",
        "WAL_BUCKET_SCOPE_PREFIX": "",
        "USE_WALG_BACKUP": "true",
        "USE_WALG_RESTORE": "true",
        "AWS_REGION": "eu-west-1",
        "AWS_ENDPOINT": "https://s3.test:9000",
        "AWS_S3_FORCE_PATH_STYLE": "true",
        "AWS_ACCESS_KEY_ID": key_of_secret("AWS_ACCESS_KEY_ID"),
        "AWS_SECRET_ACCESS_KEY": key_of_secret("AWS_SECRET_ACCESS_KEY"),
    }
    assert {name: found.get(name) for name in expected} == expected


def test_an_archive_in_googles_store_has_its_credentials_in_a_file() -> None:
    archive = {"provider": "gcs", "bucket": "mine", "credentialsSecret": "store-keys"}
    found = resolved(keys=KEYS["gcs"], archive=archive)
    path = f"{names.ARCHIVE_CREDENTIALS_MOUNT}/credentials.json"
    assert environment(found)["WAL_GS_BUCKET"] == "mine"
    assert environment(found)["GOOGLE_APPLICATION_CREDENTIALS"] == path
    mounts = {mount["name"]: mount["mountPath"] for mount in found.postgres.body["volumeMounts"]}
    assert mounts["archive-credentials"] == names.ARCHIVE_CREDENTIALS_MOUNT
    sources = {volume["name"]: volume for volume in found.pod.volumes}
    assert sources["archive-credentials"]["secret"]["secretName"] == "store-keys"


def test_an_archive_in_azure_has_its_whole_path() -> None:
    archive = {"provider": "az", "bucket": "box", "storageAccount": "acct1", "credentialsSecret": "store-keys"}
    found = environment(resolved(keys=KEYS["az"], archive=archive))
    assert found["AZURE_STORAGE_ACCOUNT"] == "acct1"
    assert found["WALG_AZ_PREFIX"] == f"azure://box/spilo/acid-a/{UID}/wal/18"
    assert found["AZURE_STORAGE_ACCESS_KEY"] == key_of_secret("AZURE_STORAGE_ACCESS_KEY")


@pytest.mark.parametrize("source", ["pod_environment_configmap", "pod_environment_secret"])
def test_of_the_configured_place_nothing_is_left_beside_an_own_archive(source: str) -> None:
    """A prefix of the configuration would win over the bucket in Spilo."""
    settings = {source: "shared", "wal_s3_bucket": "everybodys", "log_s3_bucket": "logs"}
    found = environment(resolved(settings, archive={"provider": "s3", "bucket": "mine"}))
    assert found["WAL_S3_BUCKET"] == "mine"
    assert "WALG_S3_PREFIX" not in found
    assert "BACKUP_SCHEDULE" in found, "what says nothing of the place stays"
    assert found["LOG_S3_BUCKET"] == "logs"


def test_configured_credentials_count_for_another_bucket_and_never_for_another_endpoint() -> None:
    settings = {"pod_environment_configmap": "shared"}
    same = environment(resolved(settings, archive={"provider": "s3", "bucket": "mine"}))
    assert same["AWS_SECRET_ACCESS_KEY"] == "everybodys-secret"
    for own in (
        {"provider": "s3", "bucket": "mine", "endpoint": "https://elsewhere.example.com"},
        {"provider": "gcs", "bucket": "mine"},
    ):
        other = environment(resolved(settings, archive=own))
        assert not [name for name, value in other.items() if "everybodys" in str(value)]


def test_the_operators_bucket_is_still_the_one_that_a_clone_comes_from() -> None:
    settings = {"wal_s3_bucket": "everybodys"}
    clone = {"cluster": "acid-other", "timestamp": "2026-01-01T00:00:00+00:00"}
    found = environment(resolved(settings, archive={"provider": "s3", "bucket": "mine"}, clone=clone))
    assert (found["WAL_S3_BUCKET"], found["CLONE_WAL_S3_BUCKET"]) == ("mine", "everybodys")


def test_a_variable_that_says_the_same_as_the_archive_is_refused() -> None:
    env = [{"name": "OTHER", "value": "x"}, {"name": "wal_s3_bucket", "value": "other"}]
    assert problems(archive={"provider": "s3", "bucket": "mine"}, env=env) == ["spec.env[1]"]


# credentials


def test_a_secret_that_is_missing_and_a_key_that_it_lacks_are_told_with_the_field() -> None:
    archive = {"provider": "s3", "bucket": "mine", "credentialsSecret": "store-keys"}
    with pytest.raises(UnresolvedSpec) as caught:
        resolved(archive=archive)
    assert [problem.path for problem in caught.value.problems] == ["spec.archive.credentialsSecret"]
    with pytest.raises(InvalidSpec) as lacking:
        resolved(keys=("AWS_ACCESS_KEY_ID",), archive=archive)
    assert lacking.value.problems == (
        Problem(
            "spec.archive.credentialsSecret",
            "Secret store-keys in namespace ns has no AWS_SECRET_ACCESS_KEY",
            "add it to the Secret",
        ),
    )


def test_a_secret_that_is_missing_is_a_placeholder_in_a_rendering() -> None:
    archive = {"provider": "s3", "bucket": "mine", "credentialsSecret": "store-keys"}
    stand_in = References().with_placeholders((STORE,))
    found = resolve(manifest(archive=archive), default_settings()[0], stand_in)
    assert environment(found)["AWS_ACCESS_KEY_ID"] == key_of_secret("AWS_ACCESS_KEY_ID")


def test_the_secret_of_a_backup_that_is_off_is_read_but_not_needed() -> None:
    target = {"target": {"provider": "s3", "bucket": "mine", "credentialsSecret": "store-keys"}}
    written = manifest(logicalBackup=target)["spec"]
    assert required_references(default_settings()[0], NAMESPACE, written) == (STORE,)
    assert resolved(logicalBackup=target).logical_backup is None
    assert problems(logicalBackup=target, enableLogicalBackup=True) == ["spec.logicalBackup.target.credentialsSecret"]


@pytest.mark.parametrize(
    "spec", [{}, {"archive": 7}, {"archive": {"provider": []}}, {"logicalBackup": {"target": "x"}}]
)
def test_a_manifest_with_mistakes_names_no_secret(spec: Json) -> None:
    assert required_references(default_settings()[0], NAMESPACE, spec) == ()


# the target of dumps, its image and amounts

CONFIGURED = {
    "logical_backup_s3_bucket": "everybodys",
    "logical_backup_s3_endpoint": "https://everybodys.example.com",
    "logical_backup_s3_access_key_id": "everybodys-key",
    "logical_backup_s3_secret_access_key": "everybodys-secret",
    "logical_backup_s3_region": "everybodys-region",
}


def test_dumps_go_to_the_manifests_own_target() -> None:
    target = {
        "provider": "s3",
        "bucket": "mine",
        "prefix": "a",
        "region": "eu-west-1",
        "credentialsSecret": "store-keys",
    }
    settings = {**CONFIGURED, "logical_backup_cronjob_environment_secret": "job"}
    found = resolved(
        settings, keys=KEYS["s3"], enableLogicalBackup=True, logicalBackup={"target": {**target, "sse": "AES256"}}
    )
    env = job_environment(found)
    assert {name: env[name] for name in env if name.startswith(("AWS_", "LOGICAL_BACKUP_S3_"))} == {
        "LOGICAL_BACKUP_S3_BUCKET": "mine",
        "LOGICAL_BACKUP_S3_BUCKET_PREFIX": "a",
        "LOGICAL_BACKUP_S3_BUCKET_SCOPE_SUFFIX": f"/{UID}",
        "LOGICAL_BACKUP_S3_REGION": "eu-west-1",
        "LOGICAL_BACKUP_S3_ENDPOINT": "",
        "LOGICAL_BACKUP_S3_SSE": "AES256",
        "LOGICAL_BACKUP_S3_RETENTION_TIME": "",
        "AWS_ACCESS_KEY_ID": key_of_secret("AWS_ACCESS_KEY_ID"),
        "AWS_SECRET_ACCESS_KEY": key_of_secret("AWS_SECRET_ACCESS_KEY"),
    }
    assert found.environment_secret is None, (
        "the configured credentials are not kept for a cluster that may not use them"
    )


def test_dumps_in_another_bucket_of_the_configured_store_have_its_access() -> None:
    target = {"target": {"provider": "s3", "bucket": "mine"}}
    env = job_environment(resolved(CONFIGURED, enableLogicalBackup=True, logicalBackup=target))
    assert env["LOGICAL_BACKUP_S3_BUCKET"] == "mine"
    assert env["LOGICAL_BACKUP_S3_ENDPOINT"] == "https://everybodys.example.com"
    assert env["AWS_SECRET_ACCESS_KEY"]["secretKeyRef"]["key"] == "LOGICAL_BACKUP_AWS_SECRET_ACCESS_KEY"


def test_dumps_in_azure_and_in_googles_store() -> None:
    az = {"provider": "az", "bucket": "box", "storageAccount": "acct1", "credentialsSecret": "store-keys"}
    env = job_environment(resolved(CONFIGURED, keys=KEYS["az"], enableLogicalBackup=True, logicalBackup={"target": az}))
    assert env["LOGICAL_BACKUP_AZURE_STORAGE_CONTAINER"] == "box"
    assert env["LOGICAL_BACKUP_AZURE_STORAGE_ACCOUNT_KEY"] == key_of_secret("AZURE_STORAGE_ACCESS_KEY")
    assert "everybodys" not in str(env)
    gcs = {"provider": "gcs", "bucket": "mine", "credentialsSecret": "store-keys"}
    found = resolved(CONFIGURED, keys=KEYS["gcs"], enableLogicalBackup=True, logicalBackup={"target": gcs})
    path = f"{names.BACKUP_CREDENTIALS_MOUNT}/credentials.json"
    assert job_environment(found)["LOGICAL_BACKUP_GOOGLE_APPLICATION_CREDENTIALS"] == path
    assert [v["secret"]["secretName"] for v in job(found)["volumes"] if v["name"] == "backup-credentials"] == [
        "store-keys"
    ]


def test_the_job_has_its_own_image_and_amounts() -> None:
    own = {"dockerImage": "registry.example/dump:1", "resources": {"limits": {"memory": "3Gi"}}}
    settings = {"logical_backup_memory_limit": "1Gi", "logical_backup_cpu_limit": "1"}
    container = job(resolved(settings, enableLogicalBackup=True, logicalBackup=own))["containers"][0]
    assert container["image"] == "registry.example/dump:1"
    assert container["resources"]["limits"] == {"cpu": "1", "memory": "3Gi"}


# amounts


def test_defaults_of_the_manifest_stand_in_for_the_operators() -> None:
    settings = {"default_cpu_request": "100m", "default_memory_request": "100Mi"}
    own = {"requests": {"cpu": "2"}, "limits": {"memory": "4Gi"}}
    found = resolved(settings, resourceDefaults=own, sidecars=[{"name": "agent", "image": "a"}])
    for container in found.pod.containers:
        assert container.body["resources"]["requests"] == {"cpu": "2", "memory": "100Mi"}
        assert container.body["resources"]["limits"] == {"memory": "4Gi"} | (
            {"cpu": "2"} if "cpu" in container.body["resources"]["limits"] else {}
        )


@pytest.mark.parametrize(("own", "expected"), [("2", "2"), ("100m", "250m")])
def test_of_two_minimum_limits_the_higher_counts(own: str, expected: str) -> None:
    found = resolved({"min_cpu_limit": "250m"}, minimumLimits={"cpu": own}, resources={"limits": {"cpu": "50m"}})
    assert found.postgres.body["resources"]["limits"]["cpu"] == expected


def test_a_manifest_without_such_sections_has_the_very_settings_of_the_operator() -> None:
    plain = build(cluster())
    assert build(cluster(logicalBackup={}, resourceDefaults={}, minimumLimits={})) == plain


# mistakes


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"archive": {"bucket": "mine"}}, "spec.archive.provider"),
        ({"archive": {"provider": "s3"}}, "spec.archive.bucket"),
        ({"archive": {"provider": "swift", "bucket": "mine"}}, "spec.archive.provider"),
        ({"archive": {"provider": "s3", "bucket": "s3://mine"}}, "spec.archive.bucket"),
        ({"archive": {"provider": "s3", "bucket": "mine", "prefix": "/a"}}, "spec.archive.prefix"),
        ({"archive": {"provider": "s3", "bucket": "mine", "prefix": "a/../b"}}, "spec.archive.prefix"),
        ({"archive": {"provider": "s3", "bucket": "mine", "endpoint": "minio:9000"}}, "spec.archive.endpoint"),
        ({"archive": {"provider": "s3", "bucket": "mine", "endpoint": "https://u:p@minio"}}, "spec.archive.endpoint"),
        (
            {"archive": {"provider": "s3", "bucket": "mine", "credentialsSecret": "A b"}},
            "spec.archive.credentialsSecret",
        ),
        ({"archive": {"provider": "gcs", "bucket": "mine", "region": "eu"}}, "spec.archive.region"),
        ({"archive": {"provider": "az", "bucket": "box"}}, "spec.archive"),
        ({"archive": {"provider": "s3", "bucket": "mine", "storageAccount": "acct1"}}, "spec.archive"),
        ({"logicalBackup": {"target": {"provider": "az", "bucket": "box"}}}, "spec.logicalBackup.target"),
        ({"logicalBackup": {"resources": {"limits": {"cpu": "much"}}}}, "spec.logicalBackup.resources.limits.cpu"),
        ({"minimumLimits": {"memory": "10GB"}}, "spec.minimumLimits.memory"),
    ],
)
def test_each_mistake_is_told_with_its_path_and_what_to_write(spec: Json, path: str) -> None:
    assert problems(**spec) == [path]

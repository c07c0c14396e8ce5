"""The environment of the job: the one that the operator writes is understood, and every mistake is told at once."""

import pytest

from howdah.core.backup.request import backup_request, dump_key, dump_time
from howdah.model.errors import InvalidSpec
from unit.core.clusters import cluster

S3 = {
    "SCOPE": "acid-a",
    "POD_NAMESPACE": "ns",
    "LOGICAL_BACKUP_S3_BUCKET": "b",
    "LOGICAL_BACKUP_S3_BUCKET_PREFIX": "spilo",
    "LOGICAL_BACKUP_S3_BUCKET_SCOPE_SUFFIX": "/uid",
}


def written(settings: dict[str, str]) -> dict[str, str]:
    """The literal variables that the operator writes for a cluster."""
    backup = cluster(None, settings, enableLogicalBackup=True).logical_backup
    assert backup is not None
    return {entry["name"]: entry["value"] for entry in backup.container.body["env"] if "value" in entry}


def test_the_place_of_a_dump_is_the_reference_s() -> None:
    request = backup_request(S3)
    assert (request.store.container, request.store.folder) == ("b", "spilo/acid-a/uid/logical_backups")
    key = dump_key(request.store.folder, 1764060000)
    assert key == "spilo/acid-a/uid/logical_backups/1764060000.sql.gz"
    assert dump_time(key) == 1764060000


@pytest.mark.parametrize("key", ["a/1764060000.sql", "a/notes.txt", "a/x1.sql.gz", "a/1.sql.gz.part", "a/.sql.gz"])
def test_what_is_not_named_like_a_dump_is_none(key: str) -> None:
    assert dump_time(key) is None


def test_what_the_operator_writes_is_understood() -> None:
    request = backup_request(
        {
            **written(
                {
                    "logical_backup_s3_bucket": "b",
                    "logical_backup_s3_region": "eu-central-1",
                    "logical_backup_s3_endpoint": "http://store:9000",
                    "logical_backup_s3_sse": "AES256",
                    "logical_backup_s3_retention_time": "2 weeks",
                }
            ),
            "POD_NAMESPACE": "ns",
        }
    )
    assert (request.cluster, request.namespace, request.major, request.port) == ("acid-a", "ns", 18, 5432)
    assert (request.user, request.ssl_mode, request.cluster_label) == ("postgres", "require", "cluster-name")
    assert request.store.folder == "spilo/acid-a/uid-of-resource/logical_backups"
    assert (request.store.region, request.store.endpoint) == ("eu-central-1", "http://store:9000")
    assert request.store.encryption == "AES256"
    assert request.retention is not None


def test_in_azure_the_bucket_is_a_folder_of_the_container() -> None:
    settings = {
        "logical_backup_provider": "az",
        "logical_backup_s3_bucket": "b",
        "logical_backup_azure_storage_account_name": "account",
        "logical_backup_azure_storage_container": "box",
    }
    request = backup_request(
        {
            **written(settings),
            "POD_NAMESPACE": "ns",
            "LOGICAL_BACKUP_AZURE_STORAGE_ACCOUNT_KEY": "HUSH",
        }
    )
    assert (request.store.container, request.store.account) == ("box", "account")
    assert request.store.folder.startswith("b/spilo/acid-a/")
    assert request.store.account_key == "HUSH"
    assert "HUSH" not in repr(request)


@pytest.mark.parametrize(
    ("asked", "here", "meant"),
    [
        ("require", "", "require"),
        ("require", "require", "require"),
        ("require", "prefer", "prefer"),
        ("verify-full", "prefer", "verify-full"),
        ("disable", "prefer", "disable"),
        ("", "", "prefer"),
    ],
)
def test_a_platform_without_tls_weakens_what_the_operator_writes_and_nothing_stronger(
    asked: str, here: str, meant: str
) -> None:
    assert backup_request({**S3, "PGSSLMODE": asked, "HOWDAH_BACKUP_TLS": here}).ssl_mode == meant


def test_quotes_around_a_value_are_no_part_of_it() -> None:
    assert backup_request({**S3, "LOGICAL_BACKUP_S3_SSE": '"AES256"'}).store.encryption == "AES256"


def test_every_mistake_is_told_at_once() -> None:
    with pytest.raises(InvalidSpec) as error:
        backup_request(
            {
                "LOGICAL_BACKUP_PROVIDER": "tape",
                "PGPORT": "x",
                "PGSSLMODE": "yes",
                "HOWDAH_BACKUP_TLS": "no",
                "LOGICAL_BACKUP_S3_RETENTION_TIME": "for ever",
            }
        )
    assert {problem.path for problem in error.value.problems} == {
        "HOWDAH_BACKUP_TLS",
        "LOGICAL_BACKUP_PROVIDER",
        "LOGICAL_BACKUP_S3_BUCKET",
        "LOGICAL_BACKUP_S3_RETENTION_TIME",
        "PGPORT",
        "PGSSLMODE",
        "POD_NAMESPACE",
        "SCOPE",
    }

"""What a logical backup is asked to do: the job's environment, parsed once, with every mistake told at once.

The names are the contract of the reference's image; a name that it does not know is ours and has a default.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from howdah.core.backup.retention import Retention
from howdah.model.backups import Provider, StoreRequest
from howdah.model.errors import InvalidSpec, Problem

PROVIDERS = ("s3", "gcs", "az")
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
DUMP = re.compile(r"(\d+)\.sql\.gz")


@dataclass(frozen=True, slots=True)
class BackupRequest:
    """One dump of one cluster. `retention` is None where dumps are kept for ever."""

    cluster: str
    namespace: str
    cluster_label: str
    pod: str
    major: int
    port: int
    user: str
    ssl_mode: str
    store: StoreRequest
    retention: Retention | None
    tries: int
    pause_s: float


def backup_request(environ: Mapping[str, str]) -> BackupRequest:
    """Raises InvalidSpec with every variable that is missing or wrong."""
    read = _Reader(environ)
    store = _store(read)
    request = BackupRequest(
        cluster=read.needed("SCOPE"),
        namespace=read.needed("POD_NAMESPACE"),
        cluster_label=read.text("CLUSTER_NAME_LABEL") or "cluster-name",
        pod=read.text("HOSTNAME"),
        major=read.number("PG_VERSION", 0),
        port=read.number("PGPORT", 5432),
        user=read.text("PGUSER") or "postgres",
        ssl_mode=_ssl_mode(read),
        store=store,
        retention=read.retention("LOGICAL_BACKUP_S3_RETENTION_TIME"),
        tries=max(1, read.number("LOGICAL_BACKUP_CONNECT_RETRIES", 10)),
        pause_s=float(read.number("LOGICAL_BACKUP_CONNECT_RETRY_DELAY", 2)),
    )
    if read.problems:
        raise InvalidSpec(read.problems)
    return request


def dump_key(folder: str, time: int) -> str:
    """The object of the dump that was begun at Unix time `time`."""
    return f"{folder}/{time}.sql.gz"


def dump_time(key: str) -> int | None:
    """When the dump of this key was begun; None for an object that is no dump."""
    match = DUMP.fullmatch(key.rpartition("/")[2])
    return int(match[1]) if match is not None else None


def _ssl_mode(read: _Reader) -> str:
    """libpq's word. The operator writes `require`; where a server without TLS is to be expected, the platform says `prefer`.

    That takes the place of `require` alone: whoever wants a certificate to be checked has said so on purpose.
    """
    asked = read.one_of("PGSSLMODE", SSL_MODES, "prefer")
    allowed = read.one_of("HOWDAH_BACKUP_TLS", ("prefer", "require"), "require")
    return "prefer" if (asked, allowed) == ("require", "prefer") else asked


def _store(read: _Reader) -> StoreRequest:
    provider = read.one_of("LOGICAL_BACKUP_PROVIDER", PROVIDERS, "s3")
    bucket = read.needed("LOGICAL_BACKUP_S3_BUCKET") if provider != "az" else read.text("LOGICAL_BACKUP_S3_BUCKET")
    prefix, suffix = read.text("LOGICAL_BACKUP_S3_BUCKET_PREFIX"), read.text("LOGICAL_BACKUP_S3_BUCKET_SCOPE_SUFFIX")
    path = f"{prefix}/{read.text('SCOPE')}{suffix}/logical_backups"
    is_azure = provider == "az"
    return StoreRequest(
        provider=cast(Provider, provider),
        container=read.needed("LOGICAL_BACKUP_AZURE_STORAGE_CONTAINER") if is_azure else bucket,
        # As the reference's image: in Azure's container everything is below what else is the bucket.
        folder="/".join(part for part in (f"{bucket}/{path}" if is_azure else path).split("/") if part),
        region=read.text("LOGICAL_BACKUP_S3_REGION"),
        endpoint=read.text("LOGICAL_BACKUP_S3_ENDPOINT"),
        encryption=read.text("LOGICAL_BACKUP_S3_SSE"),
        account=read.needed("LOGICAL_BACKUP_AZURE_STORAGE_ACCOUNT_NAME") if is_azure else "",
        account_key=read.text("LOGICAL_BACKUP_AZURE_STORAGE_ACCOUNT_KEY"),
        key_file=read.text("LOGICAL_BACKUP_GOOGLE_APPLICATION_CREDENTIALS"),
    )


class _Reader:
    """Reads variables and collects what is wrong with them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[Problem] = []

    def text(self, name: str) -> str:
        """Quotes around a value, as some write them in options, are no part of it."""
        return self._environ.get(name, "").strip().strip("\"'")

    def needed(self, name: str) -> str:
        value = self.text(name)
        if not value:
            self.problems.append(Problem(name, "is empty", "set the option that it comes from"))
        return value

    def one_of(self, name: str, words: tuple[str, ...], default: str) -> str:
        value = self.text(name) or default
        if value not in words:
            self.problems.append(Problem(name, f'"{value}" is none', f"write {' or '.join(words)}"))
        return value

    def number(self, name: str, default: int) -> int:
        value = self.text(name)
        if value and not value.isdigit():
            self.problems.append(Problem(name, f'"{value}" is no number', f"write such as {default}"))
        return int(value) if value.isdigit() else default

    def retention(self, name: str) -> Retention | None:
        value = self.text(name)
        try:
            return Retention.parse(value) if value else None
        except ValueError as error:
            self.problems.append(Problem.of(name, error))
            return None

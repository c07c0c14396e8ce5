"""Where the base backups, WAL and dumps of one cluster go, where its manifest says so instead of the operator's options.

A section stands in for the configured place as a whole. What the configuration says of access (region, endpoint,
credentials) counts beside it only for the same provider, and only while the section names neither an endpoint nor
credentials: those of one store must never reach another one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from howdah.core.request.asked import Asked, Json, Reference
from howdah.core.request.recovery import from_secret, variable
from howdah.model import names
from howdah.model.errors import Problem
from howdah.model.spec import Archive, ObjectStore, Spec
from howdah.model.units import PgVersion

ARCHIVE = "spec.archive"
TARGET = "spec.logicalBackup.target"
KEYS: Mapping[str, tuple[str, ...]] = {
    "s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    "gcs": (names.CREDENTIALS_FILE,),
    "az": ("AZURE_STORAGE_ACCESS_KEY",),
}
"""By provider: what a Secret with its credentials holds."""

_PLACES = frozenset(
    {
        "WAL_S3_BUCKET",
        "WALE_S3_PREFIX",
        "WALG_S3_PREFIX",
        "WAL_GS_BUCKET",
        "WAL_GCS_BUCKET",
        "WALE_GS_PREFIX",
        "WALE_GCS_PREFIX",
        "WALG_GS_PREFIX",
        "WALG_AZ_PREFIX",
        "AZURE_STORAGE_ACCOUNT",
        "WAL_SWIFT_BUCKET",
        "WALE_SWIFT_PREFIX",
        "WALG_SSH_PREFIX",
        "WAL_BUCKET_SCOPE_PREFIX",
        "WAL_BUCKET_SCOPE_SUFFIX",
    }
)
_ACCESS: Mapping[str, frozenset[str]] = {
    "s3": frozenset(
        {
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            "AWS_REGION",
            "AWS_ENDPOINT",
            "WALE_S3_ENDPOINT",
            "AWS_S3_FORCE_PATH_STYLE",
            "AWS_ROLE_ARN",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
        }
    ),
    "gcs": frozenset({"GOOGLE_APPLICATION_CREDENTIALS"}),
    "az": frozenset(
        {
            "AZURE_STORAGE_ACCESS_KEY",
            "AZURE_STORAGE_SAS_TOKEN",
            "AZURE_CLIENT_ID",
            "AZURE_CLIENT_SECRET",
            "AZURE_TENANT_ID",
        }
    ),
}
"""Names of Spilo's environment; see the tables of it in Spilo's ENVIRONMENT.rst."""


def keeps_access(store: ObjectStore, configured: str) -> bool:
    """Whether what the configuration says of access to provider `configured` counts for `store`, too."""
    return store.provider == configured and store.endpoint is None and store.credentials_secret is None


# the archive


def archive_environment(asked: Asked, version: PgVersion) -> Iterator[Json]:
    """Spilo's variables of `spec.archive`; nothing without it."""
    archive = asked.spec.archive
    if archive is None:
        return
    yield from _PLACE_OF[archive.provider](archive, asked, version)
    yield variable("USE_WALG_BACKUP", "true")
    yield variable("USE_WALG_RESTORE", "true")
    written: Mapping[str, str | None] = {"AWS_REGION": archive.region, "AWS_ENDPOINT": archive.endpoint}
    yield from (variable(name, value) for name, value in written.items() if value is not None)
    if archive.force_path_style is not None:
        yield variable("AWS_S3_FORCE_PATH_STYLE", str(archive.force_path_style).lower())
    if archive.credentials_secret is None:
        return
    if archive.provider == "gcs":
        path = f"{names.ARCHIVE_CREDENTIALS_MOUNT}/{names.CREDENTIALS_FILE}"
        yield variable("GOOGLE_APPLICATION_CREDENTIALS", path)
        return
    for key in KEYS[archive.provider]:
        yield from_secret(key, archive.credentials_secret, key)


def is_displaced(name: str, asked: Asked) -> bool:
    """Whether the configuration's variable `name` must not reach a cluster with an archive of its own."""
    archive = asked.spec.archive
    if archive is None:
        return False
    kept = {archive.provider} if keeps_access(archive, archive.provider) else set()
    access = (of_provider for provider, of_provider in _ACCESS.items() if provider not in kept)
    return name.upper() in _PLACES.union(*access)


def _scope(asked: Asked) -> Iterator[Json]:
    uid = asked.metadata.uid
    yield variable("WAL_BUCKET_SCOPE_SUFFIX", f"/{uid}" if uid else "")
    yield variable("WAL_BUCKET_SCOPE_PREFIX", "")


def _s3(archive: Archive, asked: Asked, version: PgVersion) -> Iterator[Json]:
    del version
    # A folder after the bucket's name: Spilo adds `spilo/<cluster>/<uid>/wal/<version>` to it.
    yield variable("WAL_S3_BUCKET", _below(archive))
    yield from _scope(asked)


def _gcs(archive: Archive, asked: Asked, version: PgVersion) -> Iterator[Json]:
    del version
    yield variable("WAL_GS_BUCKET", _below(archive))
    yield from _scope(asked)


def _az(archive: Archive, asked: Asked, version: PgVersion) -> Iterator[Json]:
    """For Azure Spilo forms no path itself."""
    uid = asked.metadata.uid
    scope = "/".join(part for part in (asked.names.cluster, uid) if part)
    yield variable("AZURE_STORAGE_ACCOUNT", archive.storage_account or "")
    yield variable("WALG_AZ_PREFIX", f"azure://{_below(archive)}/spilo/{scope}/wal/{version}")


_PLACE_OF = {"s3": _s3, "gcs": _gcs, "az": _az}


def _below(store: ObjectStore) -> str:
    return "/".join(part for part in (store.bucket, store.prefix) if part)


# the target of dumps

_PLACES_OF_JOB = frozenset(
    {
        "LOGICAL_BACKUP_PROVIDER",
        "LOGICAL_BACKUP_S3_BUCKET",
        "LOGICAL_BACKUP_S3_BUCKET_PREFIX",
        "LOGICAL_BACKUP_S3_BUCKET_SCOPE_SUFFIX",
        "LOGICAL_BACKUP_AZURE_STORAGE_ACCOUNT_NAME",
        "LOGICAL_BACKUP_AZURE_STORAGE_CONTAINER",
    }
)
_ACCESS_OF_JOB = frozenset(
    {
        "LOGICAL_BACKUP_S3_REGION",
        "LOGICAL_BACKUP_S3_ENDPOINT",
        "LOGICAL_BACKUP_S3_SSE",
        "LOGICAL_BACKUP_AZURE_STORAGE_ACCOUNT_KEY",
        "LOGICAL_BACKUP_GOOGLE_APPLICATION_CREDENTIALS",
        *_ACCESS["s3"],
        *_ACCESS["gcs"],
    }
)


def is_displaced_in_job(name: str, spec: Spec) -> bool:
    """Whether the configuration's variable `name` must not reach the job of a cluster with a target of its own."""
    target = spec.logical_backup.target if spec.logical_backup is not None else None
    if target is None:
        return False
    return name in _PLACES_OF_JOB or (name in _ACCESS_OF_JOB and not keeps_access(target, target.provider))


# what both need


@dataclass(frozen=True, slots=True)
class _Named:
    path: str
    reference: Reference
    keys: tuple[str, ...]


def manifest_references(spec: Mapping[str, Any], namespace: str) -> tuple[Reference, ...]:
    """The Secrets that `spec`, as it is written, names for its stores; also of a manifest with mistakes."""
    return tuple(dict.fromkeys(named.reference for named in _named(spec, namespace)))


def needed_references(asked: Asked) -> tuple[Reference, ...]:
    """Of these the ones without which the cluster cannot be made: a backup that is off needs none."""
    return tuple(dict.fromkeys(named.reference for named in _needed(asked)))


def _named(spec: Mapping[str, Any], namespace: str) -> Iterator[_Named]:
    backup = spec.get("logicalBackup")
    target = backup.get("target") if isinstance(backup, Mapping) else None
    for path, store in ((ARCHIVE, spec.get("archive")), (TARGET, target)):
        if not isinstance(store, Mapping):
            continue
        secret, keys = store.get("credentialsSecret"), KEYS.get(str(store.get("provider")))
        if isinstance(secret, str) and secret and keys is not None:
            option = f"{path}.credentialsSecret"
            yield _Named(option, Reference("Secret", secret, (namespace,), option), keys)


def _needed(asked: Asked) -> Iterator[_Named]:
    if asked.spec.archive is None and asked.spec.logical_backup is None:
        return
    written = asked.spec.model_dump(by_alias=True, include={"archive", "logical_backup"})
    for named in _named(written, asked.names.namespace):
        if asked.spec.enable_logical_backup or named.path.startswith(ARCHIVE):
            yield named


def store_faults(asked: Asked) -> Iterator[Problem]:
    """Secrets without the keys, and variables of the manifest that say the same as a section."""
    for named in _needed(asked):
        there = asked.references.secret_keys.get(named.reference)
        if there is None or any(key.startswith("<keys of ") for key in there):
            continue  # it is missing, which is said elsewhere, or a stand-in for a rendering
        lacking = [key for key in named.keys if key not in there]
        if lacking:
            yield Problem(named.path, f"{named.reference} has no {' and no '.join(lacking)}", "add it to the Secret")
    if asked.spec.archive is not None:
        ours = _PLACES.union(*_ACCESS.values())
        for index, entry in enumerate(asked.spec.env or ()):
            if str(entry["name"]).upper() in ours:
                message = f"{entry['name']} says where backups go, as {ARCHIVE} does"
                yield Problem(f"spec.env[{index}]", message, "remove one of them")

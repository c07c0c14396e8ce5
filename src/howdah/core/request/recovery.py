"""Variables that tell a member where the data come from: a clone's source, or the primary of a standby cluster."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from howdah.core.request.asked import Asked, Json
from howdah.model import names
from howdah.model.errors import Problem
from howdah.model.settings import Settings
from howdah.model.spec import Clone, Spec

_STANDBY_BY_ENVIRONMENT = re.compile(r"STANDBY_WALE_(S3|GS|GSC|SWIFT)_PREFIX")
"""GSC is what the reference looks for, where GCS was meant."""


def is_standby(spec: Spec) -> bool:
    """Whether the cluster follows another: by its section, or by a variable that Spilo takes for it."""
    return spec.standby is not None or any(
        _STANDBY_BY_ENVIRONMENT.fullmatch(str(entry["name"])) and entry.get("value") for entry in spec.env or ()
    )


def makes_standby(environment: Iterable[Mapping[str, Any]]) -> str | None:
    """The variable for which pods with these entries start as a standby cluster; None where there is none.

    The manifest may say it, or what the operator's options add to every pod.
    """
    said = (str(entry["name"]) for entry in environment if entry.get("value") or entry.get("valueFrom"))
    return next((name for name in said if name == "STANDBY_HOST" or _STANDBY_BY_ENVIRONMENT.fullmatch(name)), None)


def follows_unsaid(asked: Asked, variable: str | None) -> Iterator[Problem]:
    """A standby cluster by this variable, whose manifest does not say so. Nobody asked for its promotion."""
    if variable is not None and not asked.is_standby:
        what = f"{variable} among the pods' variables makes this a standby cluster, though there is no section standby"
        yield Problem("spec.standby", what, f"to promote it, take {variable} away, too")


def variable(name: str, value: str) -> Json:
    """An entry with a literal value."""
    return {"name": name, "value": value}


def from_secret(name: str, secret: str, key: str) -> Json:
    """An entry whose value is in a Secret."""
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def recovery_environment(asked: Asked) -> Iterator[Json]:
    """The variables of sections `clone` and `standby`."""
    if asked.spec.clone is not None and asked.spec.clone.cluster:
        yield from _clone(asked.spec.clone, asked)
    if asked.spec.standby is not None:
        yield from _standby(asked)


def _clone(clone: Clone, asked: Asked) -> Iterator[Json]:
    yield variable("CLONE_SCOPE", clone.cluster)
    if clone.timestamp:
        yield from _archive_of_clone(clone, asked)
    else:
        yield from _server_of_clone(clone, asked.settings)
    if asked.settings.irsa_role_arn:
        yield variable("CLONE_AWS_ROLE_ARN", asked.settings.irsa_role_arn)
        yield variable("CLONE_AWS_WEB_IDENTITY_TOKEN_FILE", names.IRSA_TOKEN_FILE)


def _server_of_clone(clone: Clone, settings: Settings) -> Iterator[Json]:
    role = settings.replication_username
    yield variable("CLONE_METHOD", "CLONE_WITH_BASEBACKUP")
    yield variable("CLONE_HOST", clone.cluster)
    yield variable("CLONE_PORT", str(names.POSTGRES_PORT))
    yield variable("CLONE_USER", role)
    secret = names.credentials_secret(settings.secret_name_template, role, clone.cluster)
    yield from_secret("CLONE_PASSWORD", secret, "password")


def _archive_of_clone(clone: Clone, asked: Asked) -> Iterator[Json]:
    settings = asked.settings
    if clone.s3_wal_path:
        yield variable("CLONE_WALE_S3_PREFIX", clone.s3_wal_path)
    else:
        yield from _bucket_of_clone(settings)
        yield variable("CLONE_WAL_BUCKET_SCOPE_SUFFIX", f"/{clone.uid}" if clone.uid else "")
    yield variable("CLONE_METHOD", "CLONE_WITH_WALE")
    yield variable("CLONE_TARGET_TIME", clone.timestamp or "")
    yield variable("CLONE_WAL_BUCKET_SCOPE_PREFIX", "")
    if clone.s3_endpoint:
        yield variable("CLONE_AWS_ENDPOINT", clone.s3_endpoint)
        yield variable("CLONE_WALE_S3_ENDPOINT", clone.s3_endpoint)
    for name in clone_credentials(clone):
        yield from_secret(name, asked.names.environment_secret, name)
    if clone.s3_force_path_style is not None:
        yield variable("CLONE_AWS_S3_FORCE_PATH_STYLE", "1" if clone.s3_force_path_style else "0")


def _bucket_of_clone(settings: Settings) -> Iterator[Json]:
    if settings.wal_s3_bucket:
        yield variable("CLONE_WAL_S3_BUCKET", settings.wal_s3_bucket)
    elif settings.wal_gs_bucket:
        yield variable("CLONE_WAL_GS_BUCKET", settings.wal_gs_bucket)
        if settings.gcp_credentials:
            yield variable("CLONE_GOOGLE_APPLICATION_CREDENTIALS", settings.gcp_credentials)
    elif settings.wal_az_storage_account:
        yield variable("CLONE_AZURE_STORAGE_ACCOUNT", settings.wal_az_storage_account)


def clone_credentials(clone: Clone | None) -> dict[str, str]:
    """The variables of a clone that are credentials, which only a Secret may hold."""
    if clone is None or not clone.cluster or not clone.timestamp:
        return {}
    found = {
        "CLONE_AWS_ACCESS_KEY_ID": clone.s3_access_key_id,
        "CLONE_AWS_SECRET_ACCESS_KEY": clone.s3_secret_access_key,
    }
    return {name: value for name, value in found.items() if value}


def _standby(asked: Asked) -> Iterator[Json]:
    standby = asked.spec.standby
    assert standby is not None
    if standby.standby_host:
        yield variable("STANDBY_HOST", standby.standby_host)
        if standby.standby_port:
            yield variable("STANDBY_PORT", standby.standby_port)
        if standby.standby_primary_slot_name:
            yield variable("STANDBY_PRIMARY_SLOT_NAME", standby.standby_primary_slot_name)
    if standby.s3_wal_path:
        yield variable("STANDBY_WALE_S3_PREFIX", standby.s3_wal_path)
    elif standby.gs_wal_path:
        yield variable("STANDBY_WALE_GS_PREFIX", standby.gs_wal_path)
    if standby.s3_wal_path or standby.gs_wal_path:
        yield variable("STANDBY_METHOD", "STANDBY_WITH_WALE")
        yield variable("STANDBY_WAL_BUCKET_SCOPE_PREFIX", "")
    if asked.settings.irsa_role_arn:
        yield variable("STANDBY_AWS_ROLE_ARN", asked.settings.irsa_role_arn)
        yield variable("STANDBY_AWS_WEB_IDENTITY_TOKEN_FILE", names.IRSA_TOKEN_FILE)

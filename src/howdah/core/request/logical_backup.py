"""The logical backup: when it runs, where its dumps go, and the job's pod. What the job does is `howdah.backup`.

The environment is the contract of the reference's image: any image that keeps it can do the work.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from howdah.core.request.asked import Asked, Json, backup_environment_secret
from howdah.core.request.containers import security_context
from howdah.core.request.environment import field_variable, overriding
from howdah.core.request.recovery import from_secret, variable
from howdah.core.request.resources import backup_defaults, resources
from howdah.core.request.scheduling import readiness_affinity
from howdah.core.request.stores import KEYS, is_displaced_in_job
from howdah.core.request.volumes import additional_secret, backup_credentials_volume
from howdah.model import names
from howdah.model.cluster import Container, LogicalBackup

_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def logical_backup(asked: Asked, job_annotations: Json) -> LogicalBackup | None:
    """The CronJob; None where the manifest does not ask for one."""
    spec, settings = asked.spec, asked.settings
    if not spec.enable_logical_backup:
        return None
    volumes = (*additional_secret(asked), *backup_credentials_volume(asked))
    labels = asked.labels.full_of_application(names.BACKUP_APPLICATION)
    return LogicalBackup(
        name=asked.names.backup_job,
        schedule=spec.logical_backup_schedule or settings.logical_backup_schedule,
        labels=labels,
        annotations=job_annotations,
        container=Container({**_container(asked), "volumeMounts": [volume.mount for volume in volumes]}),
        volumes=tuple(volume.body for volume in volumes),
        affinity=_affinity(asked, labels),
        successful_jobs_kept=settings.logical_backup_successful_jobs_history_limit,
        failed_jobs_kept=settings.logical_backup_failed_jobs_history_limit,
        finished_job_kept_s=settings.logical_backup_ttl_seconds_after_finished,
    )


def backup_credentials(asked: Asked) -> dict[str, str]:
    """By key in our Secret: the credentials among the variables, where the manifest asks for a backup."""
    if not asked.spec.enable_logical_backup:
        return {}
    return {_key(name): value for name, value in _credentials(asked)}


def _key(variable_name: str) -> str:
    """The Secret is not for backups alone, so that `AWS_ACCESS_KEY_ID` would say too little."""
    return f"LOGICAL_BACKUP_{variable_name.removeprefix('LOGICAL_BACKUP_')}"


def _credentials(asked: Asked) -> tuple[tuple[str, str], ...]:
    settings = asked.settings
    found: Mapping[str, Mapping[str, str]] = {
        "s3": {
            "AWS_ACCESS_KEY_ID": settings.logical_backup_s3_access_key_id,
            "AWS_SECRET_ACCESS_KEY": settings.logical_backup_s3_secret_access_key,
        },
        "gcs": {},
        "az": {"LOGICAL_BACKUP_AZURE_STORAGE_ACCOUNT_KEY": settings.logical_backup_azure_storage_account_key},
    }
    return tuple((name, value) for name, value in found[settings.logical_backup_provider].items() if value)


def _container(asked: Asked) -> dict[str, Any]:
    settings = asked.settings
    return {
        "name": names.BACKUP_CONTAINER,
        "image": settings.logical_backup_docker_image,
        "imagePullPolicy": "IfNotPresent",
        # Nothing listens there; the reference writes the database's ports.
        "ports": [{"containerPort": port, "protocol": "TCP"} for port in names.POD_PORTS],
        "env": list(overriding(tuple(_environment(asked)), _of_secret(asked))),
        "securityContext": security_context(settings),
        "resources": resources(
            None, backup_defaults(settings), memory_request_is_limit=settings.set_memory_request_to_limit
        ),
    }


def _environment(asked: Asked) -> Iterator[Json]:
    settings, cluster = asked.settings, asked.names
    user = settings.super_username
    yield variable("SCOPE", cluster.cluster)
    yield variable("CLUSTER_NAME_LABEL", settings.cluster_name_label)
    yield field_variable("POD_NAMESPACE", "metadata.namespace")
    # The manifest's, also where the operator upgrades on its own: a newer pg_dump reads an older server.
    yield variable("PG_VERSION", str(asked.spec.postgresql.version))
    yield variable("PGPORT", str(names.POSTGRES_PORT))
    yield variable("PGUSER", user)
    yield variable("PGDATABASE", user)
    yield variable("PGSSLMODE", "require")
    yield from_secret("PGPASSWORD", cluster.secret(user), "password")
    yield variable("LOGICAL_BACKUP_PROVIDER", settings.logical_backup_provider)
    yield variable("LOGICAL_BACKUP_S3_BUCKET", settings.logical_backup_s3_bucket)
    yield variable("LOGICAL_BACKUP_S3_BUCKET_PREFIX", settings.logical_backup_s3_bucket_prefix)
    uid = asked.metadata.uid
    yield variable("LOGICAL_BACKUP_S3_BUCKET_SCOPE_SUFFIX", f"/{uid}" if uid else "")
    yield from _of_provider(asked)
    for name, _ in _credentials(asked):
        yield from_secret(name, cluster.environment_secret, _key(name))
    yield from _own_credentials(asked)


def _own_credentials(asked: Asked) -> Iterator[Json]:
    """Of the manifest's own target: Google's are a file."""
    section = asked.spec.logical_backup
    target = section.target if section is not None else None
    if target is None or target.credentials_secret is None or target.provider == "gcs":
        return
    names_of_job = ("LOGICAL_BACKUP_AZURE_STORAGE_ACCOUNT_KEY",) if target.provider == "az" else KEYS["s3"]
    for name, key in zip(names_of_job, KEYS[target.provider], strict=True):
        yield from_secret(name, target.credentials_secret, key)


def _of_provider(asked: Asked) -> Iterator[Json]:
    settings = asked.settings
    if settings.logical_backup_provider == "s3":
        yield variable("LOGICAL_BACKUP_S3_REGION", settings.logical_backup_s3_region)
        yield variable("LOGICAL_BACKUP_S3_ENDPOINT", settings.logical_backup_s3_endpoint)
        yield variable("LOGICAL_BACKUP_S3_SSE", settings.logical_backup_s3_sse)
        kept = asked.spec.logical_backup_retention or settings.logical_backup_s3_retention_time
        yield variable("LOGICAL_BACKUP_S3_RETENTION_TIME", kept)
    elif settings.logical_backup_provider == "gcs":
        if path := settings.logical_backup_google_application_credentials:
            yield variable("LOGICAL_BACKUP_GOOGLE_APPLICATION_CREDENTIALS", path)
    else:
        yield variable("LOGICAL_BACKUP_AZURE_STORAGE_ACCOUNT_NAME", settings.logical_backup_azure_storage_account_name)
        yield variable("LOGICAL_BACKUP_AZURE_STORAGE_CONTAINER", settings.logical_backup_azure_storage_container)


def _of_secret(asked: Asked) -> Iterator[Json]:
    """Of the operator's Secret for the job: it wins over what is generated, but not over the manifest's own target."""
    reference = backup_environment_secret(asked.settings, asked.names.namespace)
    if reference is not None:
        for key in sorted(asked.references.secret_keys.get(reference, ())):
            if not is_displaced_in_job(key, asked.spec):
                yield from_secret(key, reference.name, key)


def _affinity(asked: Asked, labels: Json) -> Json:
    """Near other backups of the same cluster, as recorded; on nodes that are ready for databases."""
    term = {"labelSelector": {"matchLabels": dict(labels)}, "topologyKey": names.HOSTNAME_TOPOLOGY}
    near = {"podAffinity": {_PREFERRED: [{"weight": 1, "podAffinityTerm": term}]}}
    ready = readiness_affinity(asked)
    return {"nodeAffinity": ready, **near} if ready else near

"""What of the contract is read, validated and reported, but not acted on; everything that has no row here is acted on.

Whoever builds a part deletes its rows: the reference pages, the README and the warnings follow. `tests/contract` holds
both directions: a row whose field or option has an effect fails, and so does a field or option without one and without a row.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from pydantic import BaseModel

from howdah.model.errors import Problem
from howdah.model.spec import Spec


class State(Enum):
    """How far it is."""

    DONE = "done"
    PARTLY = "partly"
    """It has an effect, but not the whole one."""
    REPORTED = "reported only"
    NEEDLESS = "ignored"
    """There is nothing to do for it here, and there never will be."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """The state of a field or option, and why it is so."""

    state: State
    why: str = ""

    def __str__(self) -> str:
        """As the reference pages say it: `done`, `reported only: poolers are not built yet`."""
        return f"{self.state.value}: {self.why}" if self.why else self.state.value


_DONE = Coverage(State.DONE)


def _not_built(what: str) -> Coverage:
    return Coverage(State.REPORTED, f"{what} not built yet")


_POOLER = _not_built("poolers are")
_LOGICAL_BACKUP = _not_built("logical backups are")
_STREAMS = _not_built("streams are")
_ROTATION = _not_built("password rotation is")
_ROLES = _not_built("infrastructure roles are")
_TEAMS = _not_built("human users are")
_WINDOWS = _not_built("waiting for a window is")
_EBS = _not_built("changing AWS volumes is")
_UPGRADE = _not_built("the major upgrade is")
_CLONE = Coverage(State.PARTLY, "upstream Spilo images do it; howdah's own instance does not yet")
_WAITS = Coverage(State.NEEDLESS, "nothing waits in place: a pass ends and comes again")

FIELDS: Mapping[str, Coverage] = {
    "clone": _CLONE,
    "connectionPooler": _POOLER,
    "enableConnectionPooler": _POOLER,
    "enableLogicalBackup": _LOGICAL_BACKUP,
    "enableMasterPoolerLoadBalancer": _POOLER,
    "enableMasterPoolerNodePort": _POOLER,
    "enableReplicaConnectionPooler": _POOLER,
    "enableReplicaPoolerLoadBalancer": _POOLER,
    "enableReplicaPoolerNodePort": _POOLER,
    "logicalBackupRetention": _LOGICAL_BACKUP,
    "logicalBackupSchedule": _LOGICAL_BACKUP,
    "maintenanceWindows": Coverage(State.PARTLY, "read; " + _WINDOWS.why),
    "masterPoolerNodePort": _POOLER,
    "replicaPoolerNodePort": _POOLER,
    "standby": _CLONE,
    "streams": _STREAMS,
    "usersIgnoringSecretRotation": _ROTATION,
    "usersWithInPlaceSecretRotation": _ROTATION,
    "usersWithSecretRotation": _ROTATION,
    "volume.iops": Coverage(State.PARTLY, "read; " + _EBS.why),
    "volume.throughput": Coverage(State.PARTLY, "read; " + _EBS.why),
    "volume.type": Coverage(State.PARTLY, "read; " + _EBS.why),
}
"""By path below `spec`; a row counts for all that is below it."""

OPTIONS: Mapping[str, Coverage] = {
    "aws_region": _EBS,
    "cluster_domain": Coverage(State.NEEDLESS, "pods are spoken to by their addresses"),
    "cluster_history_entries": Coverage(State.NEEDLESS, "what was done is in events and in the log"),
    "connection_pooler_default_cpu_limit": _POOLER,
    "connection_pooler_default_cpu_request": _POOLER,
    "connection_pooler_default_memory_limit": _POOLER,
    "connection_pooler_default_memory_request": _POOLER,
    "connection_pooler_image": _POOLER,
    "connection_pooler_max_db_connections": _POOLER,
    "connection_pooler_mode": _POOLER,
    "connection_pooler_number_of_instances": _POOLER,
    "connection_pooler_schema": _POOLER,
    "connection_pooler_user": _POOLER,
    "debug_logging": _not_built("levels of the log are"),
    "enable_finalizers": Coverage(State.NEEDLESS, "a resource always has the finalizer"),
    "enable_maintenance_windows": Coverage(State.PARTLY, "read; " + _WINDOWS.why),
    "enable_master_pooler_load_balancer": _POOLER,
    "enable_master_pooler_node_port": _POOLER,
    "enable_password_rotation": _ROTATION,
    "enable_postgres_team_crd": _TEAMS,
    "enable_postgres_team_crd_superusers": _TEAMS,
    "enable_replica_pooler_load_balancer": _POOLER,
    "enable_replica_pooler_node_port": _POOLER,
    "enable_team_member_deprecation": _TEAMS,
    "enable_team_superuser": _TEAMS,
    "enable_teams_api": _TEAMS,
    "infrastructure_roles_secret_name": _ROLES,
    "infrastructure_roles_secrets": _ROLES,
    "logical_backup_azure_storage_account_key": _LOGICAL_BACKUP,
    "logical_backup_azure_storage_account_name": _LOGICAL_BACKUP,
    "logical_backup_azure_storage_container": _LOGICAL_BACKUP,
    "logical_backup_cpu_limit": _LOGICAL_BACKUP,
    "logical_backup_cpu_request": _LOGICAL_BACKUP,
    "logical_backup_cronjob_environment_secret": _LOGICAL_BACKUP,
    "logical_backup_docker_image": _LOGICAL_BACKUP,
    "logical_backup_failed_jobs_history_limit": _LOGICAL_BACKUP,
    "logical_backup_google_application_credentials": _LOGICAL_BACKUP,
    "logical_backup_job_prefix": _LOGICAL_BACKUP,
    "logical_backup_memory_limit": _LOGICAL_BACKUP,
    "logical_backup_memory_request": _LOGICAL_BACKUP,
    "logical_backup_provider": _LOGICAL_BACKUP,
    "logical_backup_s3_access_key_id": _LOGICAL_BACKUP,
    "logical_backup_s3_bucket": _LOGICAL_BACKUP,
    "logical_backup_s3_bucket_prefix": _LOGICAL_BACKUP,
    "logical_backup_s3_endpoint": _LOGICAL_BACKUP,
    "logical_backup_s3_region": _LOGICAL_BACKUP,
    "logical_backup_s3_retention_time": _LOGICAL_BACKUP,
    "logical_backup_s3_secret_access_key": _LOGICAL_BACKUP,
    "logical_backup_s3_sse": _LOGICAL_BACKUP,
    "logical_backup_schedule": _LOGICAL_BACKUP,
    "logical_backup_successful_jobs_history_limit": _LOGICAL_BACKUP,
    "logical_backup_ttl_seconds_after_finished": _LOGICAL_BACKUP,
    "maintenance_windows": Coverage(State.PARTLY, "read; " + _WINDOWS.why),
    "major_version_upgrade_mode": Coverage(State.PARTLY, "decides the version of new clusters; " + _UPGRADE.why),
    "major_version_upgrade_team_allow_list": _UPGRADE,
    "master_pod_move_timeout": _not_built("moving leaders off nodes is"),
    "minimal_major_version": Coverage(State.PARTLY, "decides the version of new clusters; " + _UPGRADE.why),
    "oauth_token_secret_name": _TEAMS,
    "password_rotation_interval": _ROTATION,
    "password_rotation_user_retention": _ROTATION,
    "patroni_api_check_interval": _WAITS,
    "patroni_api_check_timeout": _WAITS,
    "pod_deletion_wait_timeout": _WAITS,
    "pod_label_wait_timeout": _WAITS,
    "postgres_superuser_teams": _TEAMS,
    "ready_wait_interval": _WAITS,
    "ready_wait_timeout": _WAITS,
    "repair_period": Coverage(
        State.NEEDLESS, "a cluster that failed is looked at again by itself, soon and then less often"
    ),
    "resource_check_interval": _WAITS,
    "resource_check_timeout": _WAITS,
    "ring_log_lines": Coverage(State.NEEDLESS, "the log goes to the standard error output only"),
    "role_deletion_suffix": _TEAMS,
    "storage_resize_mode": Coverage(State.PARTLY, "pvc and off; ebs and mixed grow claims as pvc does"),
    "target_major_version": Coverage(State.PARTLY, "decides the version of new clusters; " + _UPGRADE.why),
    "team_api_role_configuration": _TEAMS,
    "teams_api_url": _TEAMS,
    "workers": Coverage(State.NEEDLESS, "a pass mostly waits; what bounds the load is the number of open requests"),
}
"""By name."""


def of_field(path: str) -> Coverage:
    """The state of the field at `path` below `spec` (`connectionPooler.mode`)."""
    parts = path.split(".")
    above = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((FIELDS[place] for place in above if place in FIELDS), _DONE)


def of_option(name: str) -> Coverage:
    """The state of an option."""
    return OPTIONS.get(name, _DONE)


def unheeded(spec: Spec) -> Iterator[Problem]:
    """A warning for each field of a manifest that asks for something that is not done."""
    for path, coverage in FIELDS.items():
        if coverage.state is State.REPORTED and _value(spec, path):
            yield Problem(f"spec.{path}", "is not acted on", coverage.why)


def _value(part: object, path: str) -> object:
    for step in path.split("."):
        if not isinstance(part, BaseModel):
            return None
        names = {field.alias or name: name for name, field in type(part).model_fields.items()}
        part = getattr(part, names[step])
    return part

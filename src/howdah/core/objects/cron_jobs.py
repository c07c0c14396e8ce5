"""The CronJob of the logical backup: its pod lives where and as the database's do, and ends after one dump."""

from collections.abc import Mapping

from howdah.core.objects.metadata import Body, metadata
from howdah.model.cluster import Cluster, LogicalBackup


def cron_jobs(cluster: Cluster) -> tuple[Body, ...]:
    """The backup's, where there is one."""
    backup = cluster.logical_backup
    return (_backup_job(cluster, backup),) if backup is not None else ()


def _backup_job(cluster: Cluster, backup: LogicalBackup) -> Body:
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": metadata(
            backup.name,
            cluster.key.namespace,
            labels=backup.labels,
            annotations=backup.annotations,
            owner_references=cluster.owner_references,
        ),
        "spec": {
            "schedule": backup.schedule,
            "concurrencyPolicy": "Forbid",
            "successfulJobsHistoryLimit": backup.successful_jobs_kept,
            "failedJobsHistoryLimit": backup.failed_jobs_kept,
            "jobTemplate": {
                "metadata": _marks(backup.labels, backup.annotations),
                "spec": {
                    "ttlSecondsAfterFinished": backup.finished_job_kept_s,
                    "template": {
                        "metadata": {
                            "namespace": cluster.key.namespace,
                            **_marks(backup.labels, cluster.annotations.pod),
                        },
                        "spec": _pod(cluster, backup),
                    },
                },
            },
        },
    }


def _marks(labels: Mapping[str, str], annotations: Mapping[str, str]) -> Body:
    parts = {"labels": dict(labels), "annotations": dict(annotations)}
    return {name: part for name, part in parts.items() if part}


def _pod(cluster: Cluster, backup: LogicalBackup) -> Body:
    pod = cluster.pod
    spec = {
        "serviceAccountName": pod.service_account,
        "terminationGracePeriodSeconds": pod.termination_grace_s,
        "restartPolicy": "Never",
        "containers": [dict(backup.container.body)],
        "affinity": dict(backup.affinity),
    }
    optional = {
        "volumes": list(backup.volumes),
        "securityContext": dict(pod.security_context),
        "tolerations": list(pod.tolerations),
        "topologySpreadConstraints": list(pod.topology_spread),
    }
    return spec | {name: part for name, part in optional.items() if part}

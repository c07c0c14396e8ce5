"""The operator's options as one cluster has them: sections of its manifest stand in for some of them.

Without such a section these are the operator's own, the very same object. Where base backups and WAL go is not here:
what the operator's options say of that still counts for the source of a clone. See `stores`.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from howdah.core.request.stores import keeps_access
from howdah.model import names
from howdah.model.settings import Settings
from howdah.model.spec import BackupTarget, Spec
from howdah.model.units import Quantity


def own_settings(spec: Spec, settings: Settings) -> Settings:
    """`settings` with what the manifest says for its cluster alone."""
    changes = {**_resources(spec, settings), **_logical_backup(spec, settings)}
    return replace(settings, **changes) if changes else settings


def _resources(spec: Spec, settings: Settings) -> Mapping[str, Any]:
    found: dict[str, Quantity] = {}
    defaults, least = spec.resource_defaults, spec.minimum_limits
    for part in ("request", "limit"):
        amounts = getattr(defaults, f"{part}s", None)
        for name in ("cpu", "memory"):
            if (amount := getattr(amounts, name, None)) is not None:
                found[f"default_{name}_{part}"] = amount
    for name in ("cpu", "memory"):
        if (amount := getattr(least, name, None)) is not None:
            option = f"min_{name}_limit"
            # The operator's minimum protects its nodes: a manifest may ask for more, never for less.
            found[option] = max(amount, getattr(settings, option) or Quantity(0))
    return found


def _logical_backup(spec: Spec, settings: Settings) -> Mapping[str, Any]:
    section = spec.logical_backup
    if section is None:
        return {}
    found: dict[str, Any] = {}
    if section.docker_image:
        found["logical_backup_docker_image"] = section.docker_image
    for part in ("request", "limit"):
        amounts = getattr(section.resources, f"{part}s", None)
        for name in ("cpu", "memory"):
            if (amount := getattr(amounts, name, None)) is not None:
                found[f"logical_backup_{name}_{part}"] = amount
    return found | (_target(section.target, settings) if section.target is not None else {})


def _target(target: BackupTarget, settings: Settings) -> dict[str, Any]:
    prefix = "logical_backup_s3_"
    place: dict[str, Any] = {
        "logical_backup_provider": target.provider,
        f"{prefix}bucket": "" if target.provider == "az" else target.bucket,
        f"{prefix}bucket_prefix": target.prefix or settings.logical_backup_s3_bucket_prefix,
        "logical_backup_azure_storage_account_name": target.storage_account or "",
        "logical_backup_azure_storage_container": target.bucket if target.provider == "az" else "",
    }
    said = {f"{prefix}region": target.region, f"{prefix}endpoint": target.endpoint, f"{prefix}sse": target.sse}
    place |= {name: value for name, value in said.items() if value is not None}
    if keeps_access(target, settings.logical_backup_provider):
        return place
    access: dict[str, Any] = {
        **dict.fromkeys((f"{prefix}region", f"{prefix}endpoint", f"{prefix}sse"), ""),
        **dict.fromkeys((f"{prefix}access_key_id", f"{prefix}secret_access_key"), ""),
        "logical_backup_azure_storage_account_key": "",
        "logical_backup_google_application_credentials": "",
    }
    if target.provider == "gcs" and target.credentials_secret is not None:
        path = f"{names.BACKUP_CREDENTIALS_MOUNT}/{names.CREDENTIALS_FILE}"
        access["logical_backup_google_application_credentials"] = path
    return access | place

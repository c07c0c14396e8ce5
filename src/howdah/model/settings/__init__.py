"""The operator configuration: one table row per option (`table`), read from either of its two forms (`read`)."""

from howdah.model.settings.kinds import InfrastructureRoleSecret, Kind, NamespacedName
from howdah.model.settings.read import (
    default_settings,
    settings_from_configmap,
    settings_from_configuration,
)
from howdah.model.settings.table import GROUPS, OPTIONS, Option, Settings

__all__ = [
    "GROUPS",
    "OPTIONS",
    "InfrastructureRoleSecret",
    "Kind",
    "NamespacedName",
    "Option",
    "Settings",
    "default_settings",
    "settings_from_configmap",
    "settings_from_configuration",
]

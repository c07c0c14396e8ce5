"""Which major version the pods are told, and what keeps them from the one that is asked for.

A major version is never changed under data of another one by replacing pods: data that exist decide which server starts
them (Spilo and our instance alike), so a higher PGVERSION only prepares the in-place upgrade. A folder of binaries would
decide over the data, so that one stays.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from howdah.core.request.asked import Asked
from howdah.model.errors import Problem
from howdah.model.units import MaintenanceWindow, PgVersion, next_opening

PATH = "spec.postgresql.version"


@dataclass(frozen=True, slots=True)
class Version:
    """`told` is what the pods get, `asked` what is wanted. `held`: why they differ, and `until` when that may end."""

    told: PgVersion
    asked: PgVersion
    held: Problem | None = None
    until: dt.datetime | None = None


def version_of(asked: Asked) -> Version:
    """A live version stays below a lower one, outside the maintenance windows, and where it is a folder of binaries."""
    wanted, live = asked_version(asked), asked.live.version
    if live is None or wanted == live:
        return Version(wanted, wanted)
    if wanted < live:
        message = f'"{wanted}" is lower than {live}, which the pods have: nothing is done'
        return Version(live, wanted, Problem(PATH, message, f"write {live}"))
    if not asked.settings.enable_pgversion_env_var:
        message = f'"{wanted}" would be started on data of {live}, for enable_pgversion_env_var is off: nothing is done'
        return Version(
            live, wanted, Problem(PATH, message, "switch it on: existing data then decide which server runs")
        )
    opens = next_opening(windows(asked), asked.live.at) if asked.live.at is not None else None
    if opens is not None:
        message = f'"{wanted}" waits for the maintenance window, which opens at {opens:%a %Y-%m-%d %H:%M} UTC'
        return Version(live, wanted, Problem(PATH, message, f"until then the pods keep {live}"), opens)
    return Version(wanted, wanted)


def asked_version(asked: Asked) -> PgVersion:
    """The manifest's major version; in upgrade mode `full` the target version where it is below the minimum."""
    settings, version = asked.settings, asked.spec.postgresql.version
    is_full = settings.major_version_upgrade_mode == "full"
    if is_full and version < PgVersion.parse(settings.minimal_major_version):
        return PgVersion.parse(settings.target_major_version)
    return version


def may_upgrade(asked: Asked) -> bool:
    """Whether the operator's settings let clusters of this team be upgraded."""
    settings = asked.settings
    allowed = settings.major_version_upgrade_team_allow_list
    return settings.major_version_upgrade_mode != "off" or asked.spec.team_id in allowed


def windows(asked: Asked) -> tuple[MaintenanceWindow, ...]:
    """The manifest's maintenance windows, else the operator's; none means that any time is right."""
    spec, settings = asked.spec, asked.settings
    found = settings.maintenance_windows if spec.maintenance_windows is None else spec.maintenance_windows
    return tuple(found) if settings.enable_maintenance_windows else ()

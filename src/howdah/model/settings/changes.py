"""Which changed options a running operator takes up, and which only its next start: those by which it finds what it made.

Taken up at once, one of these would make every cluster look like one that does not exist yet.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from howdah.model.errors import Problem
from howdah.model.settings.table import OPTIONS, Settings

_FOUND_BY = "the objects of every cluster are found by it"
AT_START: Mapping[str, str] = {
    "cluster_labels": _FOUND_BY,
    "cluster_name_label": _FOUND_BY,
    "pod_role_label": "Patroni marks the leader by it, and the services find it so",
    "super_username": "clusters keep the superuser that they were made with",
    "replication_username": "clusters keep the replication role that they were made with",
    "secret_name_template": "every role would get another Secret, and another password with it",
    "pdb_name_format": "the old disruption budgets would stay beside the new ones",
}
"""Options, and why they are not taken up while the operator runs."""


@dataclass(frozen=True, slots=True)
class TakenUp:
    """What is in force after a change: `settings`, the options that changed, and those that keep their old value."""

    settings: Settings
    changed: tuple[str, ...]
    held: tuple[Problem, ...]


def taken_up(old: Settings, new: Settings) -> TakenUp:
    """The settings of a running operator with `old` whose configuration says `new` now."""
    changed = tuple(name for name in OPTIONS if getattr(old, name) != getattr(new, name))
    waiting = [name for name in changed if name in AT_START]
    held = (Problem(OPTIONS[name].path, "waits for a restart of the operator", AT_START[name]) for name in waiting)
    return TakenUp(
        settings=replace(new, **{name: getattr(old, name) for name in waiting}),
        changed=tuple(name for name in changed if name not in AT_START),
        held=tuple(held),
    )

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
        """As the reference pages say it: `done`, `reported only: levels of the log are not built yet`."""
        return f"{self.state.value}: {self.why}" if self.why else self.state.value


_DONE = Coverage(State.DONE)


def _not_built(what: str) -> Coverage:
    return Coverage(State.REPORTED, f"{what} not built yet")


_UPGRADE = _not_built("the major upgrade is")
_CLONE = Coverage(State.PARTLY, "upstream Spilo images do it; howdah's own instance does not yet")
_WAITS = Coverage(State.NEEDLESS, "nothing waits in place: a pass ends and comes again")

FIELDS: Mapping[str, Coverage] = {
    "clone": _CLONE,
    "standby": _CLONE,
}
"""By path below `spec`; a row counts for all that is below it."""

OPTIONS: Mapping[str, Coverage] = {
    "cluster_domain": Coverage(State.NEEDLESS, "pods are spoken to by their addresses"),
    "cluster_history_entries": Coverage(State.NEEDLESS, "what was done is in events and in the log"),
    "enable_finalizers": Coverage(State.NEEDLESS, "a resource always has the finalizer"),
    "major_version_upgrade_mode": Coverage(State.PARTLY, "decides the version of new clusters; " + _UPGRADE.why),
    "major_version_upgrade_team_allow_list": Coverage(
        State.PARTLY, "said with an upgrade that is due; " + _UPGRADE.why
    ),
    "minimal_major_version": Coverage(State.PARTLY, "decides the version of new clusters; " + _UPGRADE.why),
    "patroni_api_check_interval": _WAITS,
    "patroni_api_check_timeout": _WAITS,
    "pod_deletion_wait_timeout": _WAITS,
    "pod_label_wait_timeout": _WAITS,
    "ready_wait_interval": _WAITS,
    "ready_wait_timeout": _WAITS,
    "repair_period": Coverage(
        State.NEEDLESS, "a cluster that failed is looked at again by itself, soon and then less often"
    ),
    "resource_check_interval": _WAITS,
    "resource_check_timeout": _WAITS,
    "ring_log_lines": Coverage(State.NEEDLESS, "the log goes to the standard error output only"),
    "target_major_version": Coverage(State.PARTLY, "decides the version of new clusters; " + _UPGRADE.why),
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

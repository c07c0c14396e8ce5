"""What was made for a part of the manifest that is switched off: removed, as long as it is ours.

Ours is what an operator wrote: a person may give an object of their own the same labels. Nothing here holds data.
"""

from __future__ import annotations

from collections.abc import Mapping

from howdah.core.objects.ownership import MOVED
from howdah.core.plan import Decision, Delete
from howdah.core.situation import Situation
from howdah.model.observed import Live

_OPTIONAL: Mapping[str, str] = {
    "CronJob": "Orphan",  # a dump that is being made is finished
}
"""Kinds that a cluster can do without, and what happens to what they made when they go."""


def obsolete_objects(situation: Situation) -> Decision:
    """Optional objects that are not intended any more."""
    intended = {(body["kind"], body["metadata"]["name"]) for body in situation.intended}
    steps = tuple(
        Delete(
            reason=f"the manifest and the configuration ask for no {kind} {name} any more",
            kind=kind,
            name=name,
            uid=live.meta.uid,
            propagation=_OPTIONAL[kind],
        )
        for (kind, name), live in sorted(situation.observed.objects.items(), key=lambda item: item[0])
        if kind in _OPTIONAL and (kind, name) not in intended and _is_removable(live)
    )
    return Decision(steps=steps)


def _is_removable(live: Live) -> bool:
    managers = {entry.manager for entry in live.meta.managed_fields or ()}
    return live.meta.deletion_timestamp is None and bool(managers & MOVED)

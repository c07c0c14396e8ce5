"""Whose a live object is: what the reference operator made waits for a person's word before pods follow a change of it.

Told by the object alone: as long as the reference's fields are not taken over it is the reference's, whoever started or
restarted since. So what has to be remembered of a hold is that nothing was taken over.
"""

from __future__ import annotations

from collections.abc import Iterable

from howdah.core.objects.diff import Difference, Effect
from howdah.core.objects.ownership import is_of_reference
from howdah.model import names
from howdah.model.observed import Live


def why_not_adopted(live: Live | None, resource: Live) -> str | None:
    """Why pods may not be touched for a change of this object; None where it is ours, or a person has said that they may.

    One that was given back is not ours any more, although our name stays in its managedFields.
    """
    if live is None or resource.meta.annotation(names.ADOPTED) == "true":
        return None
    managers = {entry.manager for entry in live.meta.managed_fields or () if not entry.subresource}
    if not managers or (names.FIELD_MANAGER in managers and not is_of_reference(live)):
        return None
    makers = ", ".join(sorted(m for m in managers - {names.FIELD_MANAGER} if m))
    return f"it was made by {makers}; annotate the resource with {names.ADOPTED}=true"


def held_adoption(live: Live, resource: Live, found: Iterable[Difference]) -> str | None:
    """Why a change of this object waits for a person's word: pods would follow it, or the reference's would on the way back."""
    if not any(one.effect in (Effect.ROLL, Effect.REPLACE) or one.is_one_way for one in found):
        return None
    return why_not_adopted(live, resource)

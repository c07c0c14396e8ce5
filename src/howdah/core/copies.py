"""Secrets of infrastructure roles: each cluster has its own, which repeats the password of the one that all share.

Whether it still does is seen outside (`Observed.outdated_copies`), for no password may come here.
"""

from __future__ import annotations

from howdah.core.far_secrets import is_out_of_reach
from howdah.core.objects.secrets import secret
from howdah.core.plan import CopySecret, Decision, Step
from howdah.core.situation import Situation


def copied_secrets(situation: Situation) -> Decision:
    """What is missing or out of date; a copy that somebody edited is, too."""
    steps: list[Step] = []
    for request in situation.cluster.secrets:
        if request.origin is None or is_out_of_reach(request, situation.observed):
            continue
        place = (request.namespace, request.name)
        live = situation.observed.secrets.get(place)
        if live is not None and place not in situation.observed.outdated_copies:
            continue
        because = "does not exist" if live is None else "has another password"
        steps.append(
            CopySecret(
                reason=f"the Secret of infrastructure role {request.username} {because}; it is in {request.origin}",
                body=secret(request),
                username=request.username,
                origin=request.origin,
                uid=live.metadata.uid if live is not None else "",
                resource_version=live.metadata.resource_version if live is not None else "",
            )
        )
    return Decision(steps=tuple(steps))

"""From which member a dump is taken: a replica that follows its leader, near the job if there is one, else the leader."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from howdah.core.patroni.member import parse_member
from howdah.model import names
from howdah.model.observed import Pod

_LEADERS = frozenset({"primary", "master", "standby_leader"})


@dataclass(frozen=True, slots=True)
class Source:
    """A member that can be asked, and why it is asked before others."""

    name: str
    address: str
    why: str


def sources(pods: Iterable[Pod], cluster: str, own_pod: str) -> tuple[Source, ...]:
    """All members that run, best first. A pooler's pod has the same labels and is none of them."""
    known = {pod.name: pod for pod in pods}
    node = known[own_pod].spec.node_name if own_pod in known else None
    ranked = sorted(
        (*_judged(pod, node), pod.ordinal, pod.name, pod.status.pod_ip)
        for pod in known.values()
        if names.is_member(pod.name, cluster) and pod.is_ready and not pod.is_deleting and pod.status.pod_ip
    )
    return tuple(Source(name, address or "", why) for _, why, _, name, address in ranked)


def _judged(pod: Pod, node: str | None) -> tuple[int, str]:
    member = parse_member(pod.name, pod.metadata.annotations)
    if member is None:
        return 3, "it is Ready"
    if member.role in _LEADERS:
        return 2, "it leads, and no replica follows it"
    if member.state not in ("streaming", "in archive recovery"):
        return 4, f"it is Ready, in state {member.state}"
    is_near = node is not None and pod.spec.node_name == node
    return (0, "it is a replica on this node") if is_near else (1, "it is a replica")

"""A leader that nobody hears of: the others are called to elect another (ADR 10), and services leave it at once (ADR 27).

Who leads is Patroni's decision, before and after this. What is counted, and when it does not count: `controller.locks`.
"""

from __future__ import annotations

from dataclasses import replace

from howdah.core.patroni.member import Member, call_value
from howdah.core.patroni.switchover import Eligibility
from howdah.core.plan import NOTHING, CallElection, Decision, UnlabelLeader
from howdah.core.situation import Situation
from howdah.model import names
from howdah.model.observed import Pod

LEADER_LABELS = frozenset({names.LEADER_ROLE, "primary"})
EARLY_S = 2.0
"""So long after the ttl it helps that services leave the leader: by then another one takes its label off anyway."""


def expired_lock(situation: Situation) -> Decision:
    """Members look at the lock once per loop_wait; without a call they may find it expired that much later."""
    place = situation.cluster.names.leader_object
    leader, lock = situation.leader, situation.observed.patroni.get(place)
    if lock is None or situation.config.is_paused:
        return NOTHING
    due = leader.calls_due(situation.observed.unrenewed_s.get(place, 0.0))
    if due <= leader.calls:
        return NOTHING
    step = CallElection(
        reason=f"{leader.name} has not renewed the leader lock for its ttl of {leader.ttl_s} s; another may take it",
        object_kind=place[0],
        name=lock.metadata.name,
        uid=lock.metadata.uid,
        resource_version=lock.metadata.resource_version,
        mark=call_value(lock.metadata.annotation("renewTime") or "", due),
    )
    return Decision(steps=(step,))


def silent_leader(situation: Situation) -> Decision:
    """No service shall lead to a leader whose lock has expired, once a member has said that it may take over.

    kube-proxy takes a first change at once and holds back what follows within a second: this is the first one, and the
    new leader's label comes after that second.
    """
    kind, name = situation.cluster.names.leader_object
    pod, lock = _labelled(situation), situation.observed.patroni.get((kind, name))
    if situation.successor is None or pod is None or lock is None or not successors(situation):
        return NOTHING
    step = UnlabelLeader(
        reason=f"the leader lock of {pod.name} has expired, and {situation.successor} may take over",
        name=pod.name,
        uid=pod.metadata.uid,
        resource_version=pod.metadata.resource_version,
        label=situation.cluster.labels.role_key,
        object_kind=kind,
        object_name=name,
        leader=pod.name,
        renewed=lock.metadata.annotation("renewTime"),
    )
    return Decision(steps=(step,))


def successors(situation: Situation) -> tuple[Member, ...]:
    """Members that might take over from a leader whose lock has just expired, which the server has confirmed (`calls`).

    They and the leader are to be asked before services leave it: in failsafe mode it may go on, and they vouch for it.
    None where services stay.
    """
    leader, place = situation.leader, situation.cluster.names.leader_object
    if place[0] != "ConfigMap" or leader.calls == 0 or leader.ttl_s is None or situation.config.is_paused:
        return ()  # in Endpoints mode services go by the lock itself
    late_s = situation.observed.unrenewed_s.get(place, 0.0) - leader.ttl_s
    if not 0 <= late_s < EARLY_S or _labelled(situation) is None:
        return ()
    others = (view.member for view in situation.views if not view.is_leader and view.member is not None)
    after_loss = _eligibility(situation)
    return tuple(member for member in others if after_loss.obstacle(member) is None)


def _labelled(situation: Situation) -> Pod | None:
    """The pod of the lock's holder, while it has the leader's label."""
    view, key = situation.leader_view, situation.cluster.labels.role_key
    if view is None or view.member is None or view.pod.metadata.label(key) not in LEADER_LABELS:
        return None
    return view.pod


def _eligibility(situation: Situation) -> Eligibility:
    """As for a switchover, but that Patroni lets anybody follow a lost leader that has named nobody synchronous yet."""
    planned = situation.eligibility
    return replace(planned, only_synchronous=planned.only_synchronous and situation.sync.leader is not None)

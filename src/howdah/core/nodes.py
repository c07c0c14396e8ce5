"""Nodes that are to be emptied: a leader goes from one before the drain would have to kill it (docs/adr/0020).

The leader's disruption budget keeps a drain from evicting it; after a switchover it is a replica, which the drain may evict.
Replicas are left to the drain: their eviction costs nobody a connection to the leader. A node of which nothing is known, and
one whose kubelet is silent, is no reason to move: whether the database there lives is Patroni's to judge.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from howdah.core.patroni.switchover import choose_candidate
from howdah.core.plan import NOTHING, Decision, Held, Switchover, Wait
from howdah.core.rollout import LOOK_AGAIN_S, MemberView
from howdah.core.situation import Situation
from howdah.core.status import LeaderMove
from howdah.model.observed import Node

RECHECK_S = 7.0  # for what makes no event: a replica that has caught up; at another moment of Patroni's loop each time
MARK_HINT = "mark its pod for replacement for a short outage, or delete the pod"


def leaving_reason(node: Node | None, ready_labels: Mapping[str, str]) -> str | None:
    """Why no leader should be on this node; None where it may stay, and where nothing is known of the node.

    As in the reference a cordoned node that has all `ready_labels` (option node_readiness_label) still counts as ready.
    """
    if node is None or not node.spec.unschedulable:
        return None
    if ready_labels and all(node.metadata.label(key) == value for key, value in ready_labels.items()):
        return None
    return f"node {node.metadata.name} is cordoned"


def leaving_members(situation: Situation) -> frozenset[str]:
    """Members on nodes that are to be emptied: where a leader is chosen for another reason, they come last."""
    nodes, labels = situation.observed.nodes, situation.cluster.rollout.ready_node_labels
    return frozenset(
        view.name
        for view in situation.views
        if leaving_reason(nodes.get(view.pod.spec.node_name or ""), labels) is not None
    )


@dataclass(frozen=True, slots=True)
class Move:
    """A leader that has to leave its node. `candidate` is None while nobody can take over, and `why_not` says why."""

    leader: str
    reason: str
    candidate: str | None
    why_not: str
    is_only_member: bool


def due_move(situation: Situation) -> Move | None:
    """None where the leader may stay where it is."""
    view, observed = situation.leader_view, situation.observed
    if view is None or view.pod.is_deleting or situation.leader_is_silent:
        return None
    node = observed.nodes.get(view.pod.spec.node_name or "")
    because = leaving_reason(node, situation.cluster.rollout.ready_node_labels)
    if because is None:
        return None
    candidate, why_not = _successor(view, situation)
    only = len(situation.views) == 1
    return Move(view.name, f"{view.name} leads, and {because}", candidate, why_not, only)


def _successor(leader: MemberView, situation: Situation) -> tuple[str | None, str]:
    """(name, "") or (None, why nobody)."""
    others = [view for view in situation.views if view is not leader]
    if not others:
        return None, f"it is the only member, and its budget keeps a drain from evicting it: {MARK_HINT}"
    if leader.unhealthy is not None or not situation.leader_is_reachable:
        return None, f"Pod {leader.name} {leader.unhealthy or 'has not said yet where its Patroni is'}"
    obstacles = {view.name: _obstacle(view, situation) for view in others}
    able = [view.member for view in others if obstacles[view.name] is None and view.member is not None]
    if not able:
        return None, "; ".join(f"{name} {why}" for name, why in sorted(obstacles.items()))
    choice = choose_candidate(able, situation.eligibility)
    if choice.name is not None:
        return choice.name, ""
    return None, "; ".join([choice.reason, *(f"{name} {why}" for name, why in sorted(obstacles.items()) if why)])


def _obstacle(view: MemberView, situation: Situation) -> str | None:
    """Why this replica is not where, or not as, the next leader has to be; a sentence without subject.

    Stricter than `Eligibility` in one thing: it has to stream. A drain can wait, and who reads the rest from the archive
    would do so while nobody leads.
    """
    if view.unhealthy is not None:
        return view.unhealthy
    name = view.pod.spec.node_name or ""
    node = situation.observed.nodes.get(name)
    if node is None:
        return f"is on node {name}, of which nothing is known"
    if leaving_reason(node, situation.cluster.rollout.ready_node_labels) is not None:
        return f"is on node {name}, which is cordoned, too; it comes to another one when that is drained"
    if not node.is_ready or node.metadata.deletion_timestamp is not None:
        return f"is on node {name}, which is not ready"
    return None


def leave_nodes(situation: Situation) -> Decision:
    """A switchover away from a cordoned node. No window holds it: who drains a node does not wait for one."""
    move = due_move(situation)
    if move is None:
        return NOTHING
    step = Switchover(reason=move.reason, leader=move.leader, candidate=move.candidate or "")
    if move.candidate is None:
        # A node may stay cordoned for weeks: the cluster is settled all the same.
        held = Held(step, move.why_not, is_lasting=True)
        later = () if move.is_only_member else (Wait(RECHECK_S, "perhaps a replica can lead then"),)
        return Decision(held=(held,), later=(*later, *_until_overdue(situation)))
    budget = situation.budget
    if budget.limit == 0:
        return Decision(held=(Held(step, "max_rolling_clusters is 0"),))
    if budget.moving >= budget.limit:
        why = f"{budget.moving} other clusters hand over already, {budget.limit} may at a time"
        return Decision(waits=(Wait(LOOK_AGAIN_S, why),))
    return Decision(steps=(step,))


# what the status says


def leader_move(situation: Situation) -> LeaderMove | None:
    """For the condition; also where it cannot be known."""
    if situation.observed.nodes_unseen is not None:
        return LeaderMove(situation.observed.nodes_unseen, are_nodes_visible=False)
    move = due_move(situation)
    if move is None:
        return None
    left = _left_s(situation)
    said = (
        f"{move.reason}; {move.candidate} is to lead"
        if move.candidate is not None
        else f"{move.reason}: {move.why_not}"
    )
    return LeaderMove(said, move.candidate, move.is_only_member, is_overdue=left is not None and left <= 0)


def _until_overdue(situation: Situation) -> tuple[Wait, ...]:
    left = _left_s(situation)
    if left is None:
        left = situation.cluster.rollout.move_timeout_s  # it begins with this pass
    return (Wait(left, "then it has taken longer than master_pod_move_timeout"),) if left > 0 else ()


def _left_s(situation: Situation) -> float | None:
    """Seconds of master_pod_move_timeout that are left; None before the status says that a move is due.

    The status is the only memory of it, so that a restart of the operator begins no new time.
    """
    conditions = situation.observed.resource.decoded_status().get("conditions") or ()
    said = next((c for c in conditions if c.get("type") == "LeaderMovePending" and c.get("status") == "True"), None)
    if said is None:
        return None
    since = dt.datetime.fromisoformat(said["lastTransitionTime"])
    return situation.cluster.rollout.move_timeout_s - (situation.observed.now - since).total_seconds()

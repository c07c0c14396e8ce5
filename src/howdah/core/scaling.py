"""How many replicas a StatefulSet gets: when it is made, and when it may have fewer than it has.

Kubernetes takes the highest ordinals away at once, and their volumes too where the retention policy says so. So that is
never a by-product: a StatefulSet that is made has room for every member that is there, and making it smaller is a step
of its own, for which somebody who stays has to lead. With 0 instances nobody stays, and every volume does (`resolve`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from howdah.core.adoption import held_adoption
from howdah.core.nodes import leaving_members
from howdah.core.objects.diff import Difference
from howdah.core.patroni.switchover import Choice, Eligibility, choose_candidate
from howdah.core.plan import NOTHING, Create, Decision, ScaleIn, Switchover, Wait
from howdah.core.rollout import LOOK_AGAIN_S
from howdah.core.situation import Situation
from howdah.model import names
from howdah.model.observed import Live

Body = Mapping[str, Any]
A_PERSONS_S = 60.0  # a person is waited for


def new_stateful_set(body: Body, situation: Situation) -> Create:
    """The StatefulSet that is missing, or made anew, with no fewer replicas than it takes to keep who is there.

    The holder of the lock counts, also while its pod is away: its volume may hold commits that no other has. A pod that
    no StatefulSet made does not, whatever people call it.
    """
    name, asked = body["metadata"]["name"], situation.cluster.instances
    reason = f"StatefulSet {name} does not exist"
    last = max(_there(situation), default=None)
    if last is None or last[0] < asked:
        return Create(reason=reason, body=body)
    why = f"{reason}; it is made with {last[0] + 1} replicas, for {last[1]} is there: fewer is a step of its own"
    return Create(reason=why, body=with_replicas(body, last[0] + 1))


def _there(situation: Situation) -> Iterable[tuple[int, str]]:
    """(ordinal, name) of each member."""
    observed = situation.observed
    yield from (
        (pod.ordinal, pod.name) for pod in observed.pods if pod.metadata.label(names.REVISION_LABEL) is not None
    )
    holder, ordinal = situation.leader.name, _holders_ordinal(situation)
    has_volume = any(claim.metadata.name == f"{names.DATA_VOLUME}-{holder}" for claim in observed.claims)
    if holder is not None and ordinal is not None and has_volume and situation.cluster.instances > 0:
        yield ordinal, holder


def _holders_ordinal(situation: Situation) -> int | None:
    """None where nobody holds the lock, or somebody who is no pod of the StatefulSet."""
    holder = situation.leader.name or ""
    return int(holder.rpartition("-")[2]) if names.is_member(holder, situation.cluster.names.stateful_set) else None


def with_replicas(body: Body, replicas: int) -> Body:
    """The same StatefulSet with another number of them."""
    return {**body, "spec": {**body["spec"], "replicas": replicas}}


def surplus(found: Iterable[Difference]) -> Difference | None:
    """The difference that says that a StatefulSet has more replicas than intended."""
    replicas = next((one for one in found if one.path == "spec.replicas"), None)
    return replicas if replicas is not None and int(replicas.live or 0) > int(replicas.intended) else None


def replicas_too_many(situation: Situation) -> Difference | None:
    """Of a StatefulSet that has more replicas than instances are asked for, the difference that says so."""
    return surplus(situation.differences.get(("StatefulSet", situation.cluster.names.stateful_set), ()))


def scale_in(situation: Situation) -> Decision:
    """What has to be before there are fewer instances: the leader is not among the pods that go, and does lead.

    It hands over first, to one that stays. Where nobody leads, the newest commits may be in a volume that would go. With
    synchronous replication they may be in that of its standby alone, so that one that stays has to be fit to be it.
    """
    is_leader_leaving = _leaves_leader(situation)
    why_not = _why_not_now(situation)
    if why_not is None or not (is_leader_leaving or replicas_too_many(situation) is not None):
        return NOTHING
    if _is_held(situation):
        return NOTHING  # no pod goes, so nobody has to make room
    if not is_leader_leaving or not situation.leads:
        return Decision(waits=(Wait(A_PERSONS_S if situation.cluster.dcs == "etcd" else LOOK_AGAIN_S, why_not),))
    return _hand_over(why_not, situation)


def _is_held(situation: Situation) -> bool:
    """Whether the StatefulSet stays as it is until a person says otherwise."""
    place = ("StatefulSet", situation.cluster.names.stateful_set)
    live, found = situation.observed.objects.get(place), situation.differences.get(place, ())
    return live is not None and held_adoption(live, situation.observed.resource, found) is not None


def _hand_over(because: str, situation: Situation) -> Decision:
    choice = _successor(situation, situation.cluster.instances)
    if _is_by_turns(situation):
        if _highest(situation) > _leaders_ordinal(situation):
            why_not = _why_not_by_turns(situation)
            # Who is above the leader goes first (`fewer_replicas`).
            return Decision(waits=(Wait(LOOK_AGAIN_S, f"{because}; {why_not}"),)) if why_not is not None else NOTHING
        choice = _successor(situation, _leaders_ordinal(situation))
    if choice.name is None or not situation.leader_is_reachable:
        return Decision(waits=(Wait(LOOK_AGAIN_S, f"{because}; no switchover: {choice.reason}"),))
    step = Switchover(reason=because, leader=situation.leader.name or "", candidate=choice.name)
    return Decision(steps=(step,))


def _successor(situation: Situation, below: int, eligibility: Eligibility | None = None) -> Choice:
    """Who would take over among the members whose ordinal is lower."""
    found = [view.member for view in situation.views if view.pod.ordinal < below and view.member is not None]
    return choose_candidate(found, eligibility or situation.eligibility, leaving=leaving_members(situation))


def _is_by_turns(situation: Situation) -> bool:
    """Whether nothing but its choice of synchronous standbys keeps Patroni from handing over to one that stays.

    Then the leader goes down by one member at a time, with those above it taken away in between: at last only members
    that stay are left to choose from.
    """
    instances = situation.cluster.instances
    if not situation.eligibility.only_synchronous or _successor(situation, instances).name is not None:
        return False
    return _successor(situation, instances, _asynchronous(situation)).name is not None


def _asynchronous(situation: Situation) -> Eligibility:
    """Who is near enough to take over, whomever Patroni has chosen as standby."""
    return replace(situation.eligibility, only_synchronous=False)


def _why_not_by_turns(situation: Situation) -> str | None:
    """Why nobody above the leader may go yet. Right after a promotion there is no standby, and one that stays may be it."""
    if not situation.sync.standbys:
        return "no synchronous standby is chosen yet, and it may be one that stays"
    return _alone(situation)


def _alone(situation: Situation) -> str | None:
    """Why a leader that commits synchronously would have nobody to commit to after this; None where it would.

    Whoever goes may be the only one that has the newest commits. One that stays has to be as near as Patroni demands of a
    successor, and to stream: else it does not become the synchronous standby. Where one member is asked for nobody stays
    beside it, which is the manifest's word.
    """
    eligibility = _asynchronous(situation)
    beside_it = situation.cluster.instances - (not _leaves_leader(situation))
    if not situation.eligibility.only_synchronous or beside_it <= 0:
        return None
    found = []
    for view in situation.views:
        if view.pod.ordinal >= situation.cluster.instances or view.is_leader:
            continue
        why_not = view.unhealthy or (eligibility.obstacle(view.member) if view.member is not None else None)
        if why_not is None:
            return None
        found.append(f"{view.name} {why_not}")
    return f"of those that stay none can become the synchronous standby: {'; '.join(found) or 'no pod is there'}"


def _leaders_ordinal(situation: Situation) -> int:
    ordinal = _holders_ordinal(situation)
    assert ordinal is not None, "only a leader among the pods of the StatefulSet is left out by a number of instances"
    return ordinal


def _highest(situation: Situation) -> int:
    return max(view.pod.ordinal for view in situation.views)


def _leaves_leader(situation: Situation) -> bool:
    """Whether the asked number of instances leaves out who holds the lock."""
    ordinal = _holders_ordinal(situation)
    return ordinal is not None and ordinal >= situation.cluster.instances > 0


def _why_not_now(situation: Situation) -> str | None:
    """Why no member may be taken away now; None where one may."""
    cluster, holder = situation.cluster, situation.leader.name
    if cluster.instances == 0 or _holds_nothing(situation):
        return None
    asked = f"numberOfInstances {cluster.instances}"
    if cluster.dcs == "etcd":
        scale = f"kubectl scale statefulset {cluster.names.stateful_set} --replicas={cluster.instances}"
        return f"{asked} waits: in etcd nobody sees from here who leads; when it is one that stays, `{scale}`"
    if not situation.leads:
        who = f"{holder} holds the leader lock and does not lead now" if holder is not None else "nobody leads"
        return f"{asked} waits: {who}, and the newest commits may be in a volume that would go"
    if _leaves_leader(situation):
        return f"{holder} leads, and {asked} leaves it out"
    alone = _alone(situation)
    return f"{asked} waits: {alone}" if alone is not None else None


def _holds_nothing(situation: Situation) -> bool:
    """Whether nobody has made the cluster's data yet: no Patroni has said anything, neither of itself nor of the cluster.

    Not where volumes of an earlier cluster are taken up: theirs says nothing before it is started.
    """
    if situation.cluster.dcs == "etcd" or situation.observed.resource.meta.annotation(names.USE_KEPT_VOLUMES) == "true":
        return False
    is_untold = situation.leader.name is None and all(view.member is None for view in situation.views)
    return is_untold and not situation.config.is_initialized


def fewer_replicas(body: Body, live: Live, replicas: Difference, situation: Situation) -> tuple[ScaleIn, ...]:
    """The step that takes this surplus away, as soon as nothing speaks against it. `scale_in` says what does."""
    asked = int(replicas.intended)
    allowed = asked if _why_not_now(situation) is None else _above_leader(situation)
    if allowed is None or allowed >= int(replicas.live):
        return ()
    kind, name = situation.cluster.names.leader_object
    reason = f"numberOfInstances is {asked}, {replicas.live} replicas are there"
    if allowed > asked:
        reason += f"; down to {allowed} first, so that the synchronous standby is one that stays"
    step = ScaleIn(
        reason=reason,
        body=with_replicas(body, allowed),
        uid=live.meta.uid,
        resource_version=live.meta.resource_version,
        changes=(replicas.path,),
        leader=situation.leader.name if situation.cluster.instances > 0 else None,
        object_kind=kind,
        object_name=name,
    )
    return (step,)


def _above_leader(situation: Situation) -> int | None:
    """To how many replicas a leader that has to leave itself may be left, before it hands over; None where it may not."""
    may_not = not (_leaves_leader(situation) and situation.leads and _is_by_turns(situation))
    return None if may_not or _why_not_by_turns(situation) is not None else _leaders_ordinal(situation) + 1

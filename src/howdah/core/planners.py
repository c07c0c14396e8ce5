"""The ordered planners, on one page: what a pass may decide, and in which order. Read this first.

Each planner looks at the same `Situation` and says its steps, what it waits for, and what is held. `decide` asks them in
order; a planner that `ends` keeps the later ones from being asked. Nothing here waits or does anything.

Of the steps those that interrupt nobody are all done first, in this order, and then the first disruptive one: so no step may
need a disruptive one that is planned before it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from howdah.core.alignment import align_objects, align_pod_annotations, missing_secrets
from howdah.core.copies import copied_secrets
from howdah.core.credentials import kept_roles, rotations
from howdah.core.inheritance import inherit
from howdah.core.nodes import leave_nodes, leaving_members
from howdah.core.obsolete import obsolete_objects
from howdah.core.patroni.dynamic import dynamic_patch, with_unsaid
from howdah.core.patroni.restart import AGAIN_AFTER, Restart, restart_order
from howdah.core.plan import (
    NOTHING,
    AnnotatePod,
    Decision,
    Held,
    PatchDynamicConfiguration,
    Plan,
    ReleaseLeader,
    RestartMember,
    RunStatements,
    SetFinalizers,
    Step,
    UnlabelLeader,
    Wait,
)
from howdah.core.pooler_rolls import roll_poolers
from howdah.core.pooling import remove_poolers, user_lists
from howdah.core.rollout import LOOK_AGAIN_S, MemberView, awaiting_word, beyond_budget, is_marked, next_replacement
from howdah.core.scaling import scale_in
from howdah.core.silence import LEADER_LABELS, expired_lock, silent_leader
from howdah.core.situation import Situation
from howdah.core.slots import asked_slots, remember_slots
from howdah.core.streams import event_streams
from howdah.core.volumes import grow_claims, modify_volumes
from howdah.core.windows import outside_windows
from howdah.model import names
from howdah.model.observed import Pod

RESTART_GRACE_S = 10.0
AWAITED_S = 15.0  # what members come to makes events; only that one takes too long does not
NO_LESS = "PostgreSQL may not have less there than the server that it follows, and Patroni would start it with as much"
IN_VAIN = "it was restarted for that, and Patroni asks for it again"
NO_STANDBY = "there is no synchronous standby, so nobody would take over if the leader were lost"

Planner = Callable[[Situation], Decision]


def blind(situation: Situation) -> Decision:
    """What may not be seen is not absent: nothing is made, changed or deleted without it.

    Of a kind that stands alone only its own objects are left as they are.
    """
    observed = situation.observed
    if not observed.problems:
        lacks, unread = ("; ".join(whys.values()) or None for whys in (observed.unseen, observed.unread))
        return Decision(lacks=lacks, unread=unread)
    why = "; ".join(problem.message for problem in observed.problems)
    return Decision(waits=(Wait(30.0, why),), stopped=why, ends=True)


def finalizer(situation: Situation) -> Decision:
    """Before anything is made, so that its end will be in order too."""
    meta = situation.observed.resource.meta
    if names.FINALIZER in (meta.finalizers or ()):
        return NOTHING
    step = SetFinalizers(
        reason="what is made for the resource is to be removed in order when it is deleted",
        finalizers=(*(meta.finalizers or ()), names.FINALIZER),
        resource_version=meta.resource_version,
    )
    return Decision(steps=(step,))


def dead_leader(situation: Situation) -> Decision:
    """A leader whose pod is gone, with its death proved, need not be waited for until its lock expires.

    A pod made anew with the same volume loses nothing, so without a synchronous standby it is given some seconds to
    start; one that has started takes the lock up by itself (docs/adr/0009).
    """
    leader, observed = situation.leader, situation.observed
    if leader.name is None or any(pod.name == leader.name and pod.has_started for pod in observed.pods):
        return NOTHING
    if situation.config.is_paused:
        return NOTHING  # in maintenance mode nobody would take over
    gone = next((d for d in reversed(observed.departed) if d.name == leader.name), None)
    lock = observed.patroni.get(situation.cluster.names.leader_object)
    if gone is None or not gone.was_proved_dead or lock is None or not situation.members:
        return NOTHING
    if situation.unrenewed_s is not None and situation.unrenewed_s < gone.gone_s:
        return NOTHING  # whoever has renewed the lock since then is another pod of this name
    is_lossless = situation.sync.leader == leader.name and bool(situation.sync.standbys)
    left_s = 0.0 if is_lossless else RESTART_GRACE_S - gone.gone_s
    if left_s > 0:
        why = f"the pod of leader {leader.name} is gone; its volume has all commits, so a new pod gets some seconds to start"
        return Decision(waits=(Wait(left_s, why),))
    step = ReleaseLeader(
        reason=f"the pod of leader {leader.name} is gone, and its processes are proved dead",
        object_kind=situation.cluster.names.leader_object[0],
        name=lock.metadata.name,
        uid=lock.metadata.uid,
        resource_version=lock.metadata.resource_version,
        leader=leader.name,
    )
    return Decision(steps=(step,))


def former_leaders(situation: Situation) -> Decision:
    """A pod that still has the leader's label while another one holds the lock: its Patroni hangs, its PostgreSQL may not.

    The new leader is promoted a moment after it has taken the lock; by then no service may lead to the old one.
    """
    leader, labels = situation.leader.name, situation.cluster.labels
    pods = situation.observed.pods
    if leader is None or all(pod.name != leader for pod in pods):
        return NOTHING
    kind, name = situation.cluster.names.leader_object
    steps = tuple(
        UnlabelLeader(
            reason=f"{pod.name} has the label of the leader, and {leader} holds the lock",
            name=pod.name,
            uid=pod.metadata.uid,
            resource_version=pod.metadata.resource_version,
            label=labels.role_key,
            object_kind=kind,
            object_name=name,
            leader=leader,
        )
        for pod in pods
        if pod.name != leader and pod.metadata.label(labels.role_key) in LEADER_LABELS
    )
    return Decision(steps=steps)


def kept_volumes(situation: Situation) -> Decision:
    """Volumes that an earlier cluster of this name left are taken up only on an explicit word.

    Which of them is the newest is not known before they are started, and a cluster that was to be new would be an old one.
    """
    observed, resource = situation.observed, situation.observed.resource.meta
    is_new = ("StatefulSet", situation.cluster.names.stateful_set) not in observed.objects and not observed.pods
    if not is_new or situation.config.is_initialized or not observed.claims:
        return NOTHING
    if resource.annotation(names.USE_KEPT_VOLUMES) == "true":
        return NOTHING
    found = ", ".join(sorted(claim.metadata.name for claim in observed.claims))
    why = (
        f"volumes of an earlier cluster of this name are there ({found}): delete them for a new cluster, "
        f"or annotate the resource with {names.USE_KEPT_VOLUMES}=true to start from them"
    )
    return Decision(waits=(Wait(30.0, why),), stopped=why, ends=True)


def promotion(situation: Situation) -> Decision:
    """A standby cluster whose manifest no longer says so: that is the word that promotion needs.

    That it said so is kept in the status: what its pods' variables say may come from the operator's options, which are
    nobody's word about this cluster. Who cannot be asked may need other steps first, such as pods.
    """
    if not situation.cluster.is_promoted or situation.cluster.instances == 0:
        return NOTHING
    if situation.config.dynamic is None:
        why = "the manifest promotes the cluster, and Patroni's configuration is not there"
        return Decision(waits=(Wait(LOOK_AGAIN_S, why),))
    if situation.config.stands_alone:
        return NOTHING
    if not (situation.leads and situation.leader_is_reachable):
        why = "the manifest promotes the cluster, and no member leads that could be told"
        return Decision(waits=(Wait(LOOK_AGAIN_S, why),))
    reason = "spec.standby is gone: the cluster is promoted to a primary of its own"
    return Decision(steps=(PatchDynamicConfiguration(reason=reason, patch={"standby_cluster": None}),))


def dynamic_configuration(situation: Situation) -> Decision:
    """What the manifest says of Patroni's dynamic configuration, once there is one."""
    view = situation.leader_view
    if situation.config.dynamic is None or view is None or view.unhealthy is not None:
        return NOTHING
    slots = asked_slots(situation)
    asked = {**situation.cluster.dynamic, "slots": slots} if slots else situation.cluster.dynamic
    patch = dynamic_patch(with_unsaid(asked, situation.config.dynamic), situation.config.dynamic)
    remembering = remember_slots(situation)
    if not patch:
        return Decision(steps=remembering)
    return Decision(steps=(*remembering, PatchDynamicConfiguration(reason=patch.reason, patch=patch.body)))


_EDITED = "the password of"  # how the reason of such a mark begins


def system_passwords(situation: Situation) -> Decision:
    """An edited password of a system role: the pods are marked first, then the role is altered, then they roll."""
    if not situation.database.edited:
        return NOTHING
    roles = ", ".join(sorted(situation.database.edited))
    because = f"{_EDITED} {roles} was changed in its Secret"
    marks = tuple(
        AnnotatePod(
            reason=f"{because}; the pod has to be replaced",
            name=pod.name,
            uid=pod.metadata.uid,
            annotations={names.ROLLING_UPDATE_REQUIRED: "true", names.REPLACE_REASON: because},
        )
        for pod in situation.observed.pods
        if pod.metadata.annotation(names.ROLLING_UPDATE_REQUIRED) != "true" and not _is_younger(pod, situation)
    )
    if situation.cluster.pause is not names.Pause.NONE:
        return Decision(held=tuple(Held(mark, "the resource is paused") for mark in marks), ends=True)
    return Decision(steps=marks)


def _is_for_a_password(pod: Pod) -> bool:
    """Whether it is marked because of an edited password."""
    return is_marked(pod) and (pod.metadata.annotation(names.REPLACE_REASON) or "").startswith(_EDITED)


def _is_younger(pod: Pod, situation: Situation) -> bool:
    """Whether the pod was made after the Secrets in question were written: it has their passwords already."""
    created = pod.metadata.creation_timestamp
    places = [(situation.cluster.key.namespace, situation.cluster.names.secret(r)) for r in situation.database.edited]
    secrets = [situation.observed.secrets.get(place) for place in places]
    times = [secret.changed_at for secret in secrets if secret is not None and secret.changed_at is not None]
    return created is not None and len(times) == len(places) and created > max(times)


def databases(situation: Situation) -> Decision:
    """Roles, memberships, passwords, databases, schemas, extensions, default privileges: only what differs.

    One step for each database, which waits for no other: see `model.postgres.statements.by_database`.
    """
    users = _users_of_pods(situation)
    steps = tuple(
        RunStatements(
            reason=_said(statements),
            database=database,
            statements=statements,
            sets_passwords_of_pods=any(s.password is not None and s.password.source.user in users for s in statements),
        )
        for database, statements in situation.database.statements
        if statements
    )
    if situation.database.error is not None:
        return Decision(steps=steps, waits=(Wait(10.0, situation.database.error),))
    return Decision(steps=steps)


def _users_of_pods(situation: Situation) -> frozenset[str]:
    """Roles as which pods log in, with passwords that they get when they start: members' and poolers'."""
    access, poolers = situation.cluster.access, situation.cluster.poolers
    lists = {source.user for pooler in poolers for source in pooler.user_list.users}
    return frozenset({access.super_username, access.replication_username} | lists)


def _said(statements: tuple[object, ...]) -> str:
    reasons = [str(getattr(statement, "reason", statement)) for statement in statements]
    more = f" and {len(reasons) - 3} more" if len(reasons) > 3 else ""
    return "; ".join(reasons[:3]) + more


def replacements(situation: Situation) -> Decision:
    """Pods made from an old template: replicas first, one at a time, the leader last."""
    # One that is not Ready has nothing to lose, and may be why nothing can be read.
    marked = next((view for view in situation.views if _is_for_a_password(view.pod) and view.pod.is_ready), None)
    if marked is not None and situation.awaits_passwords:
        why = f"{marked.name} waits to be replaced: whether the server knows the new password is being read"
        return Decision(waits=(Wait(LOOK_AGAIN_S, why),))
    decision = next_replacement(
        situation.views,
        replicas=situation.cluster.instances,
        budget=situation.budget,
        eligibility=situation.eligibility,
        leader_is_reachable=situation.leader_is_reachable,
        leaving=leaving_members(situation),
    )
    decision = replace(decision, held=(*decision.held, *awaiting_word(situation.views)))
    return outside_windows(decision, situation)


def restarts(situation: Situation) -> Decision:
    """PostgreSQL restarts that changed parameters wait for; a pod that is to be replaced restarts anyway."""
    if any(view.replace is not None for view in situation.views):
        return NOTHING
    now, budget, is_standby = situation.observed.now, situation.budget, situation.config.is_standby
    done = {reason for reason, at in budget.restarted.items() if is_standby or now - at < AGAIN_AFTER}
    order = restart_order(
        situation.members.values(),
        situation.leader.name,
        is_standby=is_standby,
        done=done,
        done_leading=budget.restarted_leading,
    )
    if order.held is not None:
        return Decision(waits=(Wait(LOOK_AGAIN_S, order.held),))
    views = {v.name: v for v in situation.views if v.member is not None and v.member.api_url is not None}
    for restart in order.restarts:
        sick = next((v for v in situation.views if v.unhealthy is not None), None)
        if sick is not None:
            return Decision(waits=(Wait(LOOK_AGAIN_S, f"restarts wait: Pod {sick.name} {sick.unhealthy}"),))
        view = views.get(restart.name)
        if view is None:
            continue
        step = _restart_member(restart, view)
        over = beyond_budget(step, view.restart_cause, budget)
        return outside_windows(over or Decision(steps=(step,)), situation)
    useless = tuple(_restart_member(restart, views[restart.name]) for restart in order.useless if restart.name in views)
    later = (Wait(AGAIN_AFTER.total_seconds(), "perhaps a restart helps then"),) if useless else ()
    in_vain = {*done, budget.restarted_leading}
    return Decision(
        held=tuple(Held(step, IN_VAIN if step.reason in in_vain else NO_LESS, is_lasting=True) for step in useless),
        later=later,
    )


def _restart_member(restart: Restart, view: MemberView) -> RestartMember:
    uid, cause = view.pod.metadata.uid, view.restart_cause
    return RestartMember(reason=restart.reason, name=view.name, uid=uid, cause=cause)


def awaited(situation: Situation) -> Decision:
    """What a cluster that is not as it should be yet waits for; nothing for a quiet one."""
    instances = situation.cluster.instances
    if instances == 0 and not situation.observed.pods:
        return NOTHING
    if not situation.config.is_initialized:
        stuck = next((view for view in situation.views if view.pod.cannot_start), None)
        why = (
            f"Pod {stuck.name} {stuck.unhealthy}" if stuck is not None else "the first member initialises the database"
        )
        return Decision(waits=(Wait(AWAITED_S, why),))
    if not situation.accepts_writes and not situation.is_standby and instances > 0:
        return Decision(waits=(Wait(LOOK_AGAIN_S, "no member accepts writes"),))
    for view in situation.views:
        if view.unhealthy is not None:
            return Decision(waits=(Wait(AWAITED_S, f"Pod {view.name} {view.unhealthy}"),))
    if len(situation.views) != instances:
        return Decision(waits=(Wait(AWAITED_S, f"{len(situation.views)} of {instances} pods exist"),))
    if situation.database.at_work:
        said = ", ".join(sorted(situation.database.at_work))
        return Decision(waits=(Wait(AWAITED_S, f"statements for database {said} take their time"),))
    if situation.awaits_databases:
        return Decision(waits=(Wait(5.0, "roles and databases are being read"),))
    if (
        situation.config.is_synchronous
        and situation.leads
        and not situation.sync.standbys
        and _may_be_synchronous(situation)
    ):
        return Decision(waits=(Wait(AWAITED_S, NO_STANDBY),))
    return NOTHING


def _may_be_synchronous(situation: Situation) -> bool:
    """Whether Patroni will make somebody a standby that commits wait for: not where every replica has the tag against it."""
    replicas = (member for name, member in situation.members.items() if name != situation.leader.name)
    return any(not member.tags.get("nosync") for member in replicas)


PLANNERS: tuple[Planner, ...] = (
    blind,  # before everything: absence is never consent
    finalizer,  # first, so that whatever is made later is removed in order
    former_leaders,  # before the new leader is promoted
    dead_leader,  # seconds matter, and it depends on nothing
    expired_lock,  # likewise
    silent_leader,  # after the mark, which the server refuses when the leader is not silent
    kept_volumes,  # before anything is made that could take them up
    scale_in,  # before the StatefulSet is made smaller
    promotion,  # first of what the manifest asks for: somebody waits for a primary
    missing_secrets,  # before the pods that read them
    copied_secrets,  # before the roles that get these passwords
    user_lists,  # made from those
    remove_poolers,
    align_objects,  # what is missing is created, what differs is applied
    obsolete_objects,  # after what takes their place
    align_pod_annotations,
    inherit,  # what others made takes annotations and owners
    modify_volumes,  # before the claims: EC2 takes size and speed in one modification, and few of them a day
    grow_claims,
    rotations,  # what a Secret says comes before what the server has
    dynamic_configuration,  # needs a leader
    system_passwords,  # marks pods before the role is altered
    databases,
    event_streams,  # after the publications that they read
    leave_nodes,  # disruptive from here on; the first of them, for a drain waits
    roll_poolers,  # when the server knows the passwords that their new pods have
    replacements,  # replaced pods need no restart
    restarts,
    awaited,
    kept_roles,  # only says what is not done
)


def decide(situation: Situation) -> Plan:
    """The plan of this pass."""
    decisions = []
    for planner in PLANNERS:
        decisions.append(planner(situation))
        if decisions[-1].ends:
            break
    plan = Plan(
        steps=tuple(step for decision in decisions for step in decision.steps),
        waits=tuple(wait for decision in decisions for wait in decision.waits),
        held=tuple(held for decision in decisions for held in decision.held),
        stopped=next((decision.stopped for decision in decisions if decision.stopped), None),
        later=tuple(wait for decision in decisions for wait in decision.later),
        lacks=next((decision.lacks for decision in decisions if decision.lacks), None),
        unread=next((decision.unread for decision in decisions if decision.unread), None),
    )
    return hold_paused(_hold_for_patroni(plan, situation), situation.cluster.pause)


def _hold_for_patroni(plan: Plan, situation: Situation) -> Plan:
    """In Patroni's maintenance mode a server that is stopped is not started again."""
    if not situation.config.is_paused:
        return plan
    why = "Patroni is in maintenance mode; `patronictl resume` ends it"
    held = tuple(Held(step, why) for step in plan.steps if step.disruptive)
    return replace(plan, steps=tuple(s for s in plan.steps if not s.disruptive), held=plan.held + held)


def hold_paused(plan: Plan, pause: names.Pause) -> Plan:
    """With a pause the steps that it covers are held, not forgotten."""
    if pause is names.Pause.NONE:
        return plan
    why = f"annotation {names.PAUSE}: {pause.value}"

    def is_held(step: Step) -> bool:
        return pause is names.Pause.ALL or step.disruptive

    held = tuple(Held(step, why) for step in plan.steps if is_held(step))
    return replace(plan, steps=tuple(s for s in plan.steps if not is_held(s)), held=plan.held + held)

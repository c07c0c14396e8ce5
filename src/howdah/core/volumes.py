"""How the volumes of members grow and get faster: through their claims, at EC2, or both (docs/adr/0021).

Nothing shrinks. EC2 takes few modifications of a volume a day and one at a time, so all that differs is one step. The file
system grows with the claim in every mode: that is the storage driver's work, and no pod needs rights on devices for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from howdah.core.plan import NOTHING, Decision, GrowClaim, Held, ModifyVolume, Wait
from howdah.core.situation import Situation
from howdah.model import names
from howdah.model.cluster import Cluster
from howdah.model.observed import Claim, Observed, PersistentVolume
from howdah.model.units import Quantity
from howdah.model.volumes import FAILED, MODIFYING, CloudVolume

EBS_DRIVER = "ebs.csi.aws.com"
LEAST_IOPS, LEAST_THROUGHPUT = 3000, 125
"""What gp3 has without paying for more. The reference heeds no smaller numbers in a manifest."""
TYPES_WITH_IOPS = frozenset({"gp3", "io1", "io2"})
TYPES_WITH_THROUGHPUT = frozenset({"gp3"})
WHILE_MODIFYING_S = 10.0
WHILE_OPTIMIZING_S = 60.0
AFTER_ERROR_S = 60.0
_GIB = 2**30


def asks_ec2(cluster: Cluster) -> bool:
    """Whether anything of this cluster's volumes is decided by what EC2 has."""
    return cluster.rollout.resize_mode in ("ebs", "mixed") or cluster.rollout.gp3_below_gib is not None


def running_claims(observed: Observed) -> tuple[Claim, ...]:
    """The bound claims of members that have a pod; what earlier members left is no concern of EC2's."""
    used = {f"{names.DATA_VOLUME}-{pod.name}" for pod in observed.pods}
    return tuple(c for c in observed.claims if c.metadata.name in used and c.spec.volume_name)


def ebs_volume_id(volume: PersistentVolume) -> str | None:
    """`vol-…` of a volume by the EBS driver or by what Kubernetes had before it (`aws://zone/vol-…`); None of any other."""
    csi, in_tree = volume.spec.csi, volume.spec.aws_elastic_block_store
    if csi is not None:
        return csi.volume_handle if csi.driver == EBS_DRIVER else None
    return in_tree.volume_id.rpartition("/")[2] if in_tree is not None else None


def modify_volumes(situation: Situation) -> Decision:
    """One modification for each volume in which EC2 has something else than what is asked."""
    look = situation.storage
    if not asks_ec2(situation.cluster):
        return NOTHING
    if look.unseen is not None:
        return Decision(lacks=look.unseen, later=(Wait(AFTER_ERROR_S, look.unseen),))
    if look.error is not None:
        return Decision(later=(Wait(AFTER_ERROR_S, look.error),))
    steps, waits, held, later = [], [], [], []
    for claim, volume in _at_ec2(look.volumes):
        step = _modification(situation.cluster, claim, volume)
        if step is not None and volume.is_busy:
            why = f"EC2 changes {volume.id} no further while it is {volume.modification}: {step.reason}"
            waits.append(Wait(_poll_s(volume), why))
        elif step is not None and volume.refusal is not None:
            held.append(Held(step, volume.refusal.why, until=volume.refusal.until))
            left_s = (volume.refusal.until - situation.observed.now).total_seconds()
            later.append(Wait(max(0.0, left_s), volume.refusal.why))
        elif step is not None:
            steps.append(step)
    return Decision(steps=tuple(steps), waits=tuple(waits), held=tuple(held), later=tuple(later))


def grow_claims(situation: Situation) -> Decision:
    """Claims grow; a smaller size in the manifest is said, and nothing is done.

    With EC2 in it, not before EC2 was asked: the storage driver would use up the modification for the size alone. Where
    EC2 cannot be asked, `mixed` goes on by the claims, and `ebs` does nothing.
    """
    mode, look = situation.cluster.rollout.resize_mode, situation.storage
    asked = situation.cluster.volume.size
    small = tuple(c for c in situation.observed.claims if (now := _requested(c)) is not None and now < asked)
    if mode == "off" or not small:
        return NOTHING
    if mode in ("ebs", "mixed") and not look.is_known and look.unseen is None and look.error is None:
        return Decision(waits=(Wait(AFTER_ERROR_S, "EC2 is asked what it has of the volumes"),))
    if mode != "ebs":
        return Decision(steps=tuple(_growth(claim, asked) for claim in small))
    return _grown_at_ec2(situation, small, asked)


def _grown_at_ec2(situation: Situation, small: tuple[Claim, ...], asked: Quantity) -> Decision:
    """A claim follows its volume: the driver finds the size there, and has the file system grown on the node."""
    volumes, steps, waits = situation.storage.volumes, [], []
    for claim in small:
        if (name := claim.metadata.name) not in volumes:
            continue
        volume = volumes[name]
        if volume is None or (volume.size_gib >= _gib(asked) and volume.modification != MODIFYING):
            steps.append(_growth(claim, asked))
        elif volume.modification == MODIFYING:
            waits.append(Wait(WHILE_MODIFYING_S, f"EC2 makes {volume.id} of {name} larger"))
    return Decision(steps=tuple(steps), waits=tuple(waits))


def volume_problem(situation: Situation) -> str | None:
    """Why volumes are not as asked, where that is for a person to know."""
    look, cluster = situation.storage, situation.cluster
    if not asks_ec2(cluster):
        return None
    if look.error is not None:
        return look.error
    said = [_problem(cluster, claim, volume) for claim, volume in _at_ec2(look.volumes)]
    return "; ".join(sentence for sentence in said if sentence) or None


def _problem(cluster: Cluster, claim: str, volume: CloudVolume) -> str | None:
    step = _modification(cluster, claim, volume)
    if step is not None and volume.refusal is not None:
        return f"{step.target}: {volume.refusal.why}"
    if step is not None and volume.modification == FAILED:
        return f"{step.target}: the last modification failed: {volume.modification_error}"
    without = [
        what for what, types in _TAKEN_BY.items() if _asked(cluster, what) and _type(cluster, volume) not in types
    ]
    if without:
        what = " and ".join(f"spec.volume.{name}" for name in without)
        return f"EC2 volume {volume.id} of {claim} is {_type(cluster, volume)}, which takes no {what}: set spec.volume.type"
    return None


@dataclass(frozen=True, slots=True)
class _Change:
    """A property that differs, as a person would say it and as the step has it."""

    field: str
    value: int | str
    reason: str


def _modification(cluster: Cluster, claim: str, volume: CloudVolume) -> ModifyVolume | None:
    changes = tuple(_changes(cluster, volume))
    if not changes:
        return None
    fields = {change.field: change.value for change in changes}
    reason = f"EC2 has another volume than asked: {', '.join(change.reason for change in changes)}"
    return ModifyVolume(reason=reason, claim=claim, volume_id=volume.id, **fields)  # type: ignore[arg-type]


def _changes(cluster: Cluster, volume: CloudVolume) -> Iterator[_Change]:
    size_gib, kind = _gib(cluster.volume.size), _type(cluster, volume)
    if cluster.rollout.resize_mode in ("ebs", "mixed") and size_gib > volume.size_gib:
        yield _Change("size_gib", size_gib, f"{volume.size_gib} GiB instead of {size_gib}")
    is_other = kind != volume.type
    if is_other:
        yield _Change("type", kind, f"type {volume.type} instead of {kind}")
    for what, types in _TAKEN_BY.items():
        asked, has = _asked(cluster, what), getattr(volume, what)
        if asked is None and is_other and kind == "gp3":
            asked = _LEAST[what]  # said, for what a volume gets otherwise depends on what it was
        if asked is not None and kind in types and (asked != has or is_other):
            yield _Change(what, asked, f"{what} {has if has is not None else 'unset'} instead of {asked}")


_TAKEN_BY: Mapping[str, frozenset[str]] = {"iops": TYPES_WITH_IOPS, "throughput": TYPES_WITH_THROUGHPUT}
_LEAST: Mapping[str, int] = {"iops": LEAST_IOPS, "throughput": LEAST_THROUGHPUT}


def _type(cluster: Cluster, volume: CloudVolume) -> str:
    """What the volume is to be: the manifest's word, else gp3 where small gp2 volumes are to become that."""
    below = cluster.rollout.gp3_below_gib
    if cluster.rollout.resize_mode == "mixed" and cluster.volume.type:
        return cluster.volume.type
    return "gp3" if volume.type == "gp2" and below is not None and volume.size_gib < below else volume.type


def _asked(cluster: Cluster, what: str) -> int | None:
    """The manifest's number, where this mode heeds it and it is not below what counts."""
    number: int | None = getattr(cluster.volume, what)
    heeded = cluster.rollout.resize_mode == "mixed" and number is not None and number >= _LEAST[what]
    return number if heeded else None


def _at_ec2(volumes: Mapping[str, CloudVolume | None]) -> tuple[tuple[str, CloudVolume], ...]:
    return tuple((claim, volume) for claim, volume in sorted(volumes.items()) if volume is not None)


def _poll_s(volume: CloudVolume) -> float:
    return WHILE_MODIFYING_S if volume.modification == MODIFYING else WHILE_OPTIMIZING_S


def _gib(size: Quantity) -> int:
    """EC2 counts whole GiB."""
    return -(-int(size) // _GIB)


def _growth(claim: Claim, asked: Quantity) -> GrowClaim:
    return GrowClaim(
        reason=f"spec.volume.size is {asked}, the claim asks for {_requested(claim)}",
        name=claim.metadata.name,
        uid=claim.metadata.uid,
        storage=str(asked),
    )


def _requested(claim: Claim) -> Quantity | None:
    asked = (claim.spec.resources.requests or {}).get("storage")
    return Quantity.parse(str(asked)) if asked is not None else None

"""What EC2 has of each cluster's volumes: asked beside the passes, remembered, and asked again only with a reason.

Where a claim's volume is never changes, so that is read once. EC2 is asked when the manifest, the options or the claims
change, after a modification, while one is under way, and once per resync; clusters that ask at the same time share one
question. A quiet pass asks nobody. After a restart everything is asked anew.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Protocol

import structlog

from howdah.adapters.aws.query import Refused
from howdah.controller.observe import Clock
from howdah.core.plan import ModifyVolume
from howdah.core.situation import VolumeLook
from howdah.core.volumes import (
    AFTER_ERROR_S,
    WHILE_MODIFYING_S,
    WHILE_OPTIMIZING_S,
    asks_ec2,
    ebs_volume_id,
    running_claims,
)
from howdah.kube.client import Client
from howdah.kube.errors import Forbidden, KubeError
from howdah.kube.informer import Key
from howdah.kube.resources import PERSISTENT_VOLUMES
from howdah.model.cluster import Cluster
from howdah.model.errors import ExternalError
from howdah.model.observed import Claim, Observed, PersistentVolume
from howdah.model.permit import Permit
from howdah.model.volumes import MODIFYING, CloudVolume, Refusal

GATHER_S = 0.2
"""How long a question waits for those of other clusters."""
REFUSED_FOR = dt.timedelta(hours=1)
"""So long a volume rests whose modifications EC2 has had enough of: it allows few a day, and does not say when the next."""
ENOUGH, UNDER_WAY = "VolumeModificationRateExceeded", "IncorrectModificationState"
SETTLING = dt.timedelta(seconds=15)
"""So long after a modification was taken EC2 may still describe the volume as it was before."""

_log = structlog.get_logger("howdah.volumes")


class Cloud(Protocol):
    """What is asked of EC2: `howdah.adapters.aws.ec2.Ec2`, or a simulated one."""

    @property
    def region(self) -> str: ...

    async def describe(self, ids: Iterable[str]) -> dict[str, CloudVolume]: ...

    async def modify(
        self,
        volume_id: str,
        *,
        size_gib: int | None,
        kind: str | None,
        iops: int | None,
        throughput: int | None,
        permit: Permit,
    ) -> None: ...


@dataclass(slots=True)
class _Known:
    """What is remembered of one cluster."""

    fingerprint: object = None
    look: VolumeLook = field(default_factory=VolumeLook)
    read_at: float = float("-inf")  # seconds of the loop's clock
    failed_at: float = float("-inf")
    changes: int = 0  # modifications that were asked for: what was read before the last one is out of date
    task: asyncio.Task[None] | None = None


class Volumes:
    """Belongs to one event loop. `notify(key)` is called when a look has ended, `permit` right before a change is sent."""

    def __init__(
        self,
        client: Client,
        cloud: Cloud,
        *,
        notify: Callable[[Key], None],
        refresh_s: float,
        permit: Permit,
        clock: Clock,
    ) -> None:
        self._client = client
        self._cloud = cloud
        self._questions = _Questions(cloud)
        self._notify = notify
        self._refresh_s = refresh_s
        self._permit = permit
        self._clock = clock
        self._known: dict[Key, _Known] = {}
        self._ids: dict[Key, dict[str, str | None]] = {}  # by the volume's name
        self._refusals: dict[str, Refusal] = {}  # by the volume's id
        self._taken: dict[str, tuple[ModifyVolume, dt.datetime]] = {}  # and until when it may not show

    def look(self, key: Key, cluster: Cluster, observed: Observed) -> VolumeLook:
        """What is known now; starts a new look where that is out of date. Never waits."""
        if not asks_ec2(cluster):
            self.forget(key)
            return VolumeLook()
        known = self._known.setdefault(key, _Known())
        claims = running_claims(observed)
        fingerprint = _fingerprint(cluster, claims)
        if known.task is None and self._is_due(known, fingerprint):
            known.task = asyncio.create_task(self._read(key, known, claims, fingerprint), name=f"volumes {key}")
        if known.fingerprint != fingerprint:
            return VolumeLook()  # what was seen for another request must not decide this one
        return self._now(known.look)

    def _is_due(self, known: _Known, fingerprint: object) -> bool:
        now_s = asyncio.get_running_loop().time()
        if now_s - known.failed_at < AFTER_ERROR_S and known.fingerprint == fingerprint:
            return False
        if known.fingerprint != fingerprint or known.look.error is not None or known.look.unseen is not None:
            return True
        return now_s - known.read_at >= min(self._refresh_s, _patience_s(self._now(known.look)))

    async def modify(self, key: Key, step: ModifyVolume) -> None:
        """Raises ExternalError with what EC2 said; what it has had enough of is not asked again for a while."""
        try:
            await self._cloud.modify(
                step.volume_id,
                size_gib=step.size_gib,
                kind=step.type,
                iops=step.iops,
                throughput=step.throughput,
                permit=self._permit,
            )
            self._taken[step.volume_id] = (step, self._clock() + SETTLING)
        except Refused as refused:
            if refused.code == ENOUGH:
                until = self._clock() + REFUSED_FOR
                why = f"{refused.message}; the next try is at {until:%H:%M} UTC"
                self._refusals[step.volume_id] = Refusal(why, until)
            if refused.code == UNDER_WAY:
                self._read_again(key)
            raise
        except ExternalError:  # it may have had its effect
            self._read_again(key)
            raise
        self._read_again(key)

    def _read_again(self, key: Key) -> None:
        """What was read is out of date, and so is what is being read."""
        if (known := self._known.get(key)) is not None:
            known.read_at, known.changes = float("-inf"), known.changes + 1

    def forget(self, key: Key) -> None:
        """The cluster is gone, or its volumes are no concern of EC2's any more."""
        self._ids.pop(key, None)
        if (known := self._known.pop(key, None)) is not None and known.task is not None:
            known.task.cancel()

    def _now(self, look: VolumeLook) -> VolumeLook:
        """With what EC2 has refused, and with what it has taken and does not show yet."""
        now = self._clock()
        self._refusals = {one: refusal for one, refusal in self._refusals.items() if refusal.until > now}
        self._taken = {one: (step, until) for one, (step, until) in self._taken.items() if until > now}
        if not (self._refusals or self._taken):
            return look
        return replace(look, volumes={c: self._judged(v) if v is not None else v for c, v in look.volumes.items()})

    def _judged(self, volume: CloudVolume) -> CloudVolume:
        step, _ = self._taken.get(volume.id, (None, None))
        if step is not None and not volume.is_busy and not _shows(volume, step):
            volume = replace(volume, modification=MODIFYING)
        return replace(volume, refusal=self._refusals.get(volume.id))

    async def _read(self, key: Key, known: _Known, claims: tuple[Claim, ...], fingerprint: object) -> None:
        now_s, changes = asyncio.get_running_loop().time, known.changes
        try:
            look = await self._looked(key, claims)
            if known.changes == changes:
                known.look, known.fingerprint = look, fingerprint
                known.read_at, known.failed_at = now_s(), float("-inf")
        except (ExternalError, KubeError) as error:
            _log.info("volumes not seen", namespace=key[0], cluster=key[1], error=str(error))
            if known.fingerprint != fingerprint or not known.look.is_known:  # else what was seen last still holds
                known.look, known.fingerprint = _blind(error), fingerprint
            known.failed_at = now_s()
        finally:
            known.task = None
            self._notify(key)

    async def _looked(self, key: Key, claims: tuple[Claim, ...]) -> VolumeLook:
        places = await self._places(key, claims)
        ids = {one for one in places.values() if one is not None}
        found = await self._questions.ask(ids) if ids else {}
        if lost := sorted(ids - found.keys()):
            message = f"there is no volume {', '.join(lost)} in region {self._cloud.region} (aws_region)"
            raise ExternalError("EC2", transient=True, message=message)
        return VolumeLook({claim: found[one] if one is not None else None for claim, one in places.items()}, True)

    async def _places(self, key: Key, claims: tuple[Claim, ...]) -> dict[str, str | None]:
        """The EC2 volume of each claim, None of a volume that is not EC2's."""
        known = self._ids.setdefault(key, {})
        wanted = {claim.spec.volume_name or "": claim.metadata.name for claim in claims}
        for gone in known.keys() - wanted.keys():
            del known[gone]
        for name in wanted.keys() - known.keys():
            known[name] = ebs_volume_id(await self._client.get(PERSISTENT_VOLUMES, name, type=PersistentVolume))
        return {claim: known[name] for name, claim in wanted.items()}


class _Questions:
    """Questions to EC2 that come close together are one; while it does not answer, few are asked."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._ids: set[str] = set()
        self._next: asyncio.Task[dict[str, CloudVolume]] | None = None
        self._failure: tuple[float, ExternalError] | None = None  # until when it stands for an answer

    async def ask(self, ids: Iterable[str]) -> dict[str, CloudVolume]:
        """By id, those that EC2 knows. Raises ExternalError."""
        now_s = asyncio.get_running_loop().time()
        if self._failure is not None and now_s < self._failure[0]:
            raise self._failure[1]
        wanted = set(ids)
        self._ids |= wanted
        if self._next is None:
            self._next = asyncio.create_task(self._ask(), name="EC2")
        found = await asyncio.shield(self._next)
        return {one: found[one] for one in wanted if one in found}

    async def _ask(self) -> dict[str, CloudVolume]:
        await asyncio.sleep(GATHER_S)
        ids, self._ids, self._next = self._ids, set(), None
        try:
            found = await self._cloud.describe(ids)
        except ExternalError as error:
            self._failure = (asyncio.get_running_loop().time() + AFTER_ERROR_S / 2, error)
            raise
        self._failure = None
        return found


def _shows(volume: CloudVolume, step: ModifyVolume) -> bool:
    asked = (step.size_gib, step.type, step.iops, step.throughput)
    has = (volume.size_gib, volume.type, volume.iops, volume.throughput)
    return all(wanted in (None, there) for wanted, there in zip(asked, has, strict=True))


def _patience_s(look: VolumeLook) -> float:
    """How long what was seen may still be true."""
    volumes = [volume for volume in look.volumes.values() if volume is not None]
    if any(volume.modification == MODIFYING for volume in volumes):
        return WHILE_MODIFYING_S
    return WHILE_OPTIMIZING_S if any(volume.is_busy for volume in volumes) else float("inf")


def _blind(error: Exception) -> VolumeLook:
    if isinstance(error, Forbidden):
        return VolumeLook(unseen=f"EC2 changes no volume: {error}")
    return VolumeLook(error=str(error))


def _fingerprint(cluster: Cluster, claims: tuple[Claim, ...]) -> object:
    """What a look depends on."""
    volume, rollout = cluster.volume, cluster.rollout
    asked = (volume.size, volume.iops, volume.throughput, volume.type, rollout.resize_mode, rollout.gp3_below_gib)
    return asked, tuple((c.metadata.name, c.spec.volume_name, str(c.spec.resources.requests)) for c in claims)

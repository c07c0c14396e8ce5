"""Steps → calls. Writes only, in order; stops at the first failure; never waits for an effect.

Every call carries what makes it safe to be late or doubled: POST for what is new, the uid for what exists, uid and
resourceVersion for what interrupts somebody. A disruptive step is announced on the resource first (ADR 3), and neither
that nor the step itself is repeated where the server is busy: by then the look from which it was decided is old.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import msgspec

from howdah.adapters.kubernetes import POSTGRESQLS, RESOURCES
from howdah.controller import user_list
from howdah.controller.copies import read_password
from howdah.controller.databases import Databases, Overtaken, StillAtWork
from howdah.controller.lead import permit
from howdah.controller.members import Members
from howdah.controller.observe import Clock, utc_now
from howdah.controller.passwords import change_secret, new_password
from howdah.controller.volumes import Volumes
from howdah.core import plan as p
from howdah.core.intent import Intent
from howdah.core.patroni.member import Member
from howdah.core.situation import Situation
from howdah.core.status import Outcome
from howdah.kube.client import Client
from howdah.kube.errors import AlreadyExists, Conflict, Invalid, KubeError, NotFound
from howdah.kube.resources import SECRETS, Resource
from howdah.model import names
from howdah.model.errors import ExternalError
from howdah.model.observed import Live, Meta

SERVICES_AT_ONCE = 8
"""The API server gives addresses out one after the other: more requests only wait there, time out, and keep others out."""


class LookAgain(Exception):  # noqa: N818 - a state, not an error
    """Somebody else wrote first: the decision is out of date, and nothing is wrong."""


@dataclass(frozen=True, slots=True)
class Target:
    """The cluster that steps belong to."""

    namespace: str
    name: str
    uid: str
    situation: Situation | None = None  # None while it is being deleted

    def for_situation(self) -> Situation:
        if self.situation is None:
            raise LookAgain(f"{self.namespace}/{self.name} is being deleted")
        return self.situation


class Applier:
    """Carries steps out. `told` hears of each one done (for events and metrics).

    `may_write` is asked before each one, and by all that carries it out right before a call is sent or sent again.

    `sees_shared(kind, namespace)`: whether what all clusters of a namespace share has been made since the decision.
    """

    def __init__(
        self,
        client: Client,
        members: Members,
        databases: Databases,
        volumes: Volumes,
        *,
        may_write: Callable[[], bool],
        told: Callable[[Target, p.Step, str | None], None],
        sees_shared: Callable[[str, str], bool],
        operator_namespace: str = "",
        clock: Clock = utc_now,
    ) -> None:
        self._check_lead = permit(may_write)
        self._client = client.permitted_by(self._check_lead)
        self._members = members
        self._databases = databases
        self._volumes = volumes
        self.may_write = may_write
        self._told = told
        self._sees_shared = sees_shared
        self._operator_namespace = operator_namespace
        self._clock = clock
        self._making_services = asyncio.Semaphore(SERVICES_AT_ONCE)

    async def carry_out(self, target: Target, steps: tuple[p.Step, ...]) -> Outcome:
        """Do the steps in order, up to the first that fails."""
        done: list[p.Step] = []
        at_work: list[p.Step] = []
        failures: list[tuple[p.Step, str]] = []

        def outcome(failed: p.Step | None, said: str | None, *, is_conflict: bool = False) -> Outcome:
            return Outcome(tuple(done), failed, said, is_conflict, tuple(failures), tuple(at_work))

        for step in steps:
            self._check_lead()
            try:
                await _HANDLERS[type(step)](self, target, step)
            except (Conflict, LookAgain, Overtaken) as conflict:
                return outcome(step, str(conflict), is_conflict=True)
            except StillAtWork:
                at_work.append(step)
                continue
            except (KubeError, ExternalError) as error:
                if _is_stale(error):
                    return outcome(step, str(error), is_conflict=True)
                self._told(target, step, str(error))
                failures.append((step, str(error)))
                if step.holds_up:
                    return outcome(step, str(error))
                continue
            self._told(target, step, None)
            done.append(step)
        return outcome(*failures[0]) if failures else outcome(None, None)

    async def announce(self, target: Target, intent: Intent, resource_version: str) -> str:
        """Write the intent on the resource, if it is still the one that the decision was made from; its new version."""
        return await self._annotate(target, resource_version, msgspec.json.encode(intent).decode())

    async def withdraw(self, target: Target, resource_version: str) -> None:
        """Remove the intent: nothing disruptive is due any more."""
        await self._annotate(target, resource_version, None)

    async def _annotate(self, target: Target, resource_version: str, intent: str | None) -> str:
        metadata = {
            "uid": target.uid,
            "resourceVersion": resource_version,
            "annotations": {names.DISRUPTION: intent},
        }
        patch = {"metadata": metadata}
        answer = await self._client.merge_patch(POSTGRESQLS, target.name, patch, namespace=target.namespace, once=True)
        return str(answer["metadata"]["resourceVersion"])

    # one handler per kind of step

    async def _create(self, target: Target, step: p.Create) -> None:
        kind = step.body["kind"]
        if kind in p.SHARED_KINDS and self._sees_shared(kind, target.namespace):
            return
        try:
            async with self._making_services if kind == "Service" else contextlib.nullcontext():
                await self._post(RESOURCES[kind], step.body)
        except AlreadyExists as exists:
            try:
                await self._explain_existing(target, step.body, exists)
            except LookAgain:
                if kind not in p.SHARED_KINDS:  # of those another cluster has just made it: all is as it was to be
                    raise

    async def _post(self, resource: Resource, body: Mapping[str, Any]) -> None:
        """What is not found when something is made is the place for it: no lost race, and nothing that the next pass knows."""
        try:
            await self._client.create(resource, body)
        except NotFound as error:
            namespace = body["metadata"]["namespace"]
            message = (
                f"{error.message or error}; create namespace {namespace}, or change what asks for an object there"
                if error.details.get("kind") == "namespaces"
                else str(error)
            )
            raise ExternalError("kubernetes", transient=True, message=message) from error

    async def _create_secret(self, target: Target, step: p.CreateSecret) -> None:
        body = {**step.body, "stringData": {"username": step.username, "password": new_password()}}
        try:
            await self._post(SECRETS, body)
        except AlreadyExists as exists:  # its password stands; ours was never used
            await self._take_up_secret(step.body, exists)

    async def _take_up_secret(self, body: Mapping[str, Any], exists: AlreadyExists) -> None:
        """A Secret that a person made to choose the password becomes the role's by our labels; its data stay."""
        metadata = body["metadata"]
        live = await self._client.get(
            SECRETS, metadata["name"], namespace=metadata["namespace"], metadata_only=True, type=Live
        )
        if _has_labels(live.metadata, metadata):
            raise LookAgain(str(exists)) from exists
        patch = {"metadata": {"uid": live.metadata.uid, "labels": metadata["labels"]}}
        await self._client.merge_patch(SECRETS, metadata["name"], patch, namespace=metadata["namespace"])

    async def _copy_secret(self, target: Target, step: p.CopySecret) -> None:
        """The password is here between two calls, and nowhere else. What was there before it is not kept."""
        del target
        password = await read_password(self._client, self._operator_namespace, step.origin)
        values = {"username": step.username.encode(), "password": password}
        data = {key: base64.b64encode(value).decode() for key, value in values.items()}
        metadata = step.body["metadata"]
        if not step.uid:
            try:
                await self._post(SECRETS, {**step.body, "data": data})
            except AlreadyExists as exists:  # with our labels its copy is seen in the next pass
                await self._take_up_secret(step.body, exists)
            return
        seen = {"uid": step.uid, "resourceVersion": step.resource_version}
        patch = {"metadata": seen, "data": data}
        await self._client.merge_patch(SECRETS, metadata["name"], patch, namespace=metadata["namespace"])

    async def _explain_existing(self, target: Target, body: Mapping[str, Any], exists: AlreadyExists) -> None:
        """Late caches are looked past; an object of somebody else is not taken, and said."""
        del target
        metadata, resource = body["metadata"], RESOURCES[body["kind"]]
        live = await self._client.get(
            resource, metadata["name"], namespace=metadata.get("namespace"), metadata_only=True, type=Live
        )
        if _has_labels(live.metadata, metadata):
            raise LookAgain(str(exists)) from exists
        said = ", ".join(f"{key}={value}" for key, value in sorted((metadata.get("labels") or {}).items()))
        message = (
            f"{body['kind']} {metadata['name']} exists and is not this cluster's: "
            f"delete it, or label it {said} to have it taken over"
        )
        raise ExternalError("kubernetes", transient=False, message=message) from exists

    async def _change_secret(self, target: Target, step: p.ChangeSecret) -> None:
        del target
        try:
            await change_secret(self._client, step)
        except Invalid as refused:
            live = await self._client.get(SECRETS, step.name, namespace=step.namespace, metadata_only=True, type=Live)
            if live.version == (step.uid, step.resource_version):
                raise
            raise LookAgain(str(refused)) from refused

    async def _create_environment_secret(self, target: Target, step: p.CreateEnvironmentSecret) -> None:
        asked = target.for_situation().cluster.environment_secret
        body = {**step.body, "stringData": dict(asked.values) if asked is not None else {}}
        try:
            await self._post(SECRETS, body)
        except AlreadyExists as exists:
            await self._explain_existing(target, step.body, exists)

    async def _update_environment_secret(self, target: Target, step: p.UpdateEnvironmentSecret) -> None:
        asked = target.for_situation().cluster.environment_secret
        values = asked.values if asked is not None else {}
        encoded = {key: base64.b64encode(values[key].encode()).decode() if key in values else None for key in step.keys}
        patch = {"metadata": {"uid": step.uid}, "data": encoded}
        await self._client.merge_patch(SECRETS, step.name, patch, namespace=step.namespace)

    async def _write_user_list(self, target: Target, step: p.WriteUserList) -> None:
        cluster = target.for_situation().cluster
        body = await user_list.written(self._client, step, cluster.names, self._clock)
        if step.uid is not None:
            body = {**body, "metadata": {**body["metadata"], "uid": step.uid}}
            await self._client.apply(SECRETS, body, field_manager=names.FIELD_MANAGER, force=True)
            return
        try:
            await self._post(SECRETS, body)
        except AlreadyExists as exists:
            await self._explain_existing(target, step.body, exists)

    async def _apply(self, target: Target, step: p.Apply) -> None:
        del target
        await self._send(step, {"uid": step.uid})

    async def _roll_pooler(self, target: Target, step: p.RollPooler) -> None:
        del target
        await self._apply_as_seen(step)

    async def _scale_in(self, target: Target, step: p.ScaleIn) -> None:
        """Who leads is in another object, so that is read at the last moment."""
        if step.leader is not None:
            await self._held_lock(step.object_kind, step.object_name, step.leader, target)
        await self._apply_as_seen(step)

    async def _apply_as_seen(self, step: p.ScaleIn | p.RollPooler) -> None:
        await self._send(step, {"uid": step.uid, "resourceVersion": step.resource_version}, once=True)

    async def _send(self, step: p.Apply, exactly: Mapping[str, str], *, once: bool = False) -> None:
        """`exactly`: of which object, in metadata."""
        body = {**step.body, "metadata": {**step.body["metadata"], **exactly}}
        resource = RESOURCES[step.body["kind"]]
        await self._client.apply(resource, body, field_manager=step.field_manager, force=True, once=once)

    async def _held_lock(self, kind: str, name: str, leader: str, target: Target) -> Mapping[str, str]:
        """The annotations of the lock as it is now. Raises LookAgain where `leader` does not hold it any more."""
        lock = await self._client.get(RESOURCES[kind], name, namespace=target.namespace)
        said: Mapping[str, str] = lock["metadata"].get("annotations") or {}
        if said.get("leader") != leader:
            raise LookAgain(f"{leader} does not hold the lock any more")
        return said

    async def _take_over(self, target: Target, step: p.TakeOver) -> None:
        operations: list[dict[str, Any]] = [
            {"op": "test", "path": "/metadata/uid", "value": step.uid},
            {"op": "replace", "path": "/metadata/managedFields", "value": list(step.managed_fields)},
            {"op": "replace", "path": "/metadata/resourceVersion", "value": step.resource_version},
        ]
        try:
            await self._client.json_patch(RESOURCES[step.kind], step.name, operations, namespace=target.namespace)
        except Invalid as other:  # the test of the uid failed
            raise LookAgain(str(other)) from other

    async def _delete(self, target: Target, step: p.Delete) -> None:
        try:
            await self._client.delete(
                RESOURCES[step.kind],
                step.name,
                namespace=step.namespace or target.namespace,
                uid=step.uid,
                propagation=step.propagation,
            )
        except NotFound:
            return

    async def _set_finalizers(self, target: Target, step: p.SetFinalizers) -> None:
        metadata = {"uid": target.uid, "resourceVersion": step.resource_version, "finalizers": list(step.finalizers)}
        try:
            await self._client.merge_patch(POSTGRESQLS, target.name, {"metadata": metadata}, namespace=target.namespace)
        except NotFound:
            return

    async def _annotate_resource(self, target: Target, step: p.AnnotateResource) -> None:
        metadata = {"uid": target.uid, "annotations": dict(step.annotations)}
        await self._client.merge_patch(POSTGRESQLS, target.name, {"metadata": metadata}, namespace=target.namespace)

    async def _annotate_pod(self, target: Target, step: p.AnnotatePod) -> None:
        await self._patch_meta("Pod", target, step.name, step.uid, {"annotations": dict(step.annotations)})

    async def _patch_metadata(self, target: Target, step: p.PatchMetadata) -> None:
        del target
        metadata: dict[str, Any] = {"uid": step.uid, "annotations": dict(step.annotations)}
        if step.owner_references is not None:
            metadata |= {
                "resourceVersion": step.resource_version,
                "ownerReferences": [dict(owner) for owner in step.owner_references],
            }
        patch = {"metadata": metadata}
        await self._client.merge_patch(RESOURCES[step.kind], step.name, patch, namespace=step.namespace)

    async def _grow_claim(self, target: Target, step: p.GrowClaim) -> None:
        patch = {"metadata": {"uid": step.uid}, "spec": {"resources": {"requests": {"storage": step.storage}}}}
        resource = RESOURCES["PersistentVolumeClaim"]
        await self._client.merge_patch(resource, step.name, patch, namespace=target.namespace)

    async def _modify_volume(self, target: Target, step: p.ModifyVolume) -> None:
        await self._volumes.modify((target.namespace, target.name), step)

    async def _patch_dynamic(self, target: Target, step: p.PatchDynamicConfiguration) -> None:
        situation = target.for_situation()
        leader = _member(situation, situation.leader.name or "")
        await self._members.patch_configuration(situation.cluster, leader, step.patch)

    async def _run_statements(self, target: Target, step: p.RunStatements) -> None:
        await self._databases.run(target.for_situation(), step.database, step.statements)

    async def _release_leader(self, target: Target, step: p.ReleaseLeader) -> None:
        metadata = {
            "resourceVersion": step.resource_version,
            "annotations": {"leader": None, "renewTime": None},
        }
        await self._patch_meta(step.object_kind, target, step.name, step.uid, metadata)

    async def _call_election(self, target: Target, step: p.CallElection) -> None:
        metadata = {
            "resourceVersion": step.resource_version,
            "annotations": {names.LOCK_EXPIRED: step.mark},
        }
        await self._patch_meta(step.object_kind, target, step.name, step.uid, metadata)

    async def _unlabel_leader(self, target: Target, step: p.UnlabelLeader) -> None:
        said = await self._held_lock(step.object_kind, step.object_name, step.leader, target)
        if step.renewed is not None and said.get("renewTime") != step.renewed:
            raise LookAgain(f"{step.leader} has renewed the lock")
        metadata = {"resourceVersion": step.resource_version, "labels": {step.label: None}}
        await self._patch_meta("Pod", target, step.name, step.uid, metadata)

    async def _replace_pod(self, target: Target, step: p.ReplacePod) -> None:
        await self._delete_as_seen("Pod", target, step)

    async def _replace_pooler(self, target: Target, step: p.ReplacePooler) -> None:
        await self._delete_as_seen(step.kind, target, step)

    async def _delete_as_seen(self, kind: str, target: Target, step: p.ReplacePod | p.ReplacePooler) -> None:
        try:
            await self._client.delete(
                RESOURCES[kind],
                step.name,
                namespace=target.namespace,
                uid=step.uid,
                resource_version=step.resource_version,
                once=True,
            )
        except NotFound as gone:
            raise LookAgain(str(gone)) from gone

    async def _switchover(self, target: Target, step: p.Switchover) -> None:
        situation = target.for_situation()
        await self._members.switch_over(situation.cluster, _member(situation, step.leader), step.candidate)

    async def _restart_member(self, target: Target, step: p.RestartMember) -> None:
        situation = target.for_situation()
        await self._members.restart(situation.cluster, _member(situation, step.name))

    async def _patch_meta(self, kind: str, target: Target, name: str, uid: str, metadata: Mapping[str, Any]) -> None:
        patch = {"metadata": {"uid": uid, **metadata}}
        await self._client.merge_patch(RESOURCES[kind], name, patch, namespace=target.namespace)


def _member(situation: Situation, name: str) -> Member:
    """The member, with the address of its Patroni."""
    found = situation.members.get(name)
    if found is None or found.api_url is None:
        raise LookAgain(f"{name} has not said yet where its Patroni is")
    addresses = {pod.status.pod_ip for pod in situation.observed.pods if pod.name == name}
    if urlsplit(found.api_url).hostname not in addresses:  # credentials go to the pod itself, whatever it says
        message = f"{name} says that its Patroni is at {found.api_url}, which is not the address of its pod"
        raise ExternalError("patroni", transient=True, message=message)
    return found


def _has_labels(live: Meta, intended: Mapping[str, Any]) -> bool:
    return all(live.label(key) == value for key, value in (intended.get("labels") or {}).items())


def _is_stale(error: Exception) -> bool:
    """422 for another uid, and 404, on a change: the object that the decision was made from is not there any more."""
    if isinstance(error, NotFound):
        return True
    return isinstance(error, Invalid) and "metadata.uid" in str(error)


_HANDLERS: Mapping[type[p.Step], Callable[[Applier, Target, Any], Awaitable[None]]] = {
    p.Create: Applier._create,
    p.CreateSecret: Applier._create_secret,
    p.CopySecret: Applier._copy_secret,
    p.CreateEnvironmentSecret: Applier._create_environment_secret,
    p.UpdateEnvironmentSecret: Applier._update_environment_secret,
    p.ChangeSecret: Applier._change_secret,
    p.WriteUserList: Applier._write_user_list,
    p.Apply: Applier._apply,
    p.ScaleIn: Applier._scale_in,
    p.RollPooler: Applier._roll_pooler,
    p.ReplacePooler: Applier._replace_pooler,
    p.TakeOver: Applier._take_over,
    p.Delete: Applier._delete,
    p.SetFinalizers: Applier._set_finalizers,
    p.AnnotateResource: Applier._annotate_resource,
    p.AnnotatePod: Applier._annotate_pod,
    p.PatchMetadata: Applier._patch_metadata,
    p.GrowClaim: Applier._grow_claim,
    p.ModifyVolume: Applier._modify_volume,
    p.PatchDynamicConfiguration: Applier._patch_dynamic,
    p.RunStatements: Applier._run_statements,
    p.ReleaseLeader: Applier._release_leader,
    p.CallElection: Applier._call_election,
    p.UnlabelLeader: Applier._unlabel_leader,
    p.ReplacePod: Applier._replace_pod,
    p.Switchover: Applier._switchover,
    p.RestartMember: Applier._restart_member,
}

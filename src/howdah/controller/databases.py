"""What each cluster's databases lack: read when something may have changed, remembered otherwise, never in the way.

Reading runs beside the passes, for a server that hangs must not hold up the decisions that could help it. A pass takes
what is known, and is asked for again when more is. Statements are begun by a pass, and go on beside it where they take
long (docs/adr/0031). After a restart everything is read anew: nothing here must survive.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus
from typing import Protocol

import structlog

from howdah.adapters import postgres
from howdah.adapters.postgres import AuthenticationFailed, Outcome, Password, PasswordChecks, Target, session_options
from howdah.controller import replicas
from howdah.controller.lead import NotLeading
from howdah.controller.role_secrets import RoleSecrets, held_secrets, passwords_in
from howdah.core.postgres.difference import (
    difference,
    interest,
    password_change,
    unmet,
    unreadable,
    without_roles,
)
from howdah.core.postgres.publications import missing_for_publications, publications_in_place
from howdah.core.postgres.removal import Kept, farewells
from howdah.core.postgres.rotation import as_in_server, interest_in_logins, removals, rotations, with_logins
from howdah.core.postgres.statements import repair_password_sql
from howdah.core.resolve import roles_and_databases
from howdah.core.situation import DatabaseLook, Situation
from howdah.kube.client import Client
from howdah.kube.errors import Forbidden, KubeError, NotFound, ServerUnavailable
from howdah.kube.informer import Key
from howdah.kube.resources import SECRETS
from howdah.model.cluster import Cluster
from howdah.model.errors import ExternalError
from howdah.model.observed import SecretMeta
from howdah.model.permit import Permit
from howdah.model.postgres.catalogue import Catalogue, Interest
from howdah.model.postgres.desired import Desired, PasswordSource
from howdah.model.postgres.passwords import SALT_BYTES, Method, new_verifier
from howdah.model.postgres.statements import MAINTENANCE_DATABASE, Statement, by_database

RETRY_AFTER_S = 5.0
TABLES_AFTER_S = 30.0
"""How often tables are looked for that streams want and that are not there yet."""
LOOK_TIMEOUT_S = 180.0
PATIENCE_S = 5.0
"""How long a pass waits for statements, all together, before they go on beside it."""
MOST_BESIDE = 4
"""Groups of statements of one cluster that run at once: copying databases is work for the server's disks."""
REPAIR_TIMEOUT_S = 30.0
CLOSE_S = 3.0
"""How long servers are waited for that are asked to cancel a statement."""
NOTHING_IN_PARTICULAR = Interest(frozenset(), frozenset())

_log = structlog.get_logger("howdah.databases")


class Server(replicas.Server, Protocol):
    """What is asked of PostgreSQL: `howdah.adapters.postgres`, or a simulated one."""

    async def observe(self, target: Target, interest: Interest, /) -> Catalogue: ...

    async def apply(
        self,
        target: Target,
        statements: Sequence[Statement],
        passwords: Mapping[PasswordSource, Password],
        /,
        *,
        method: Method,
        permit: Permit,
    ) -> Outcome: ...


@dataclass(frozen=True, slots=True)
class _Basis:
    """What a look depends on: the request, who leads on which timeline, and the versions of the Secrets."""

    request: tuple[object, ...]
    leader: str  # uid of its pod
    timeline: int | None
    secrets: tuple[tuple[str, str, str], ...]  # namespace, name, version

    def is_still(self, now: _Basis) -> bool:
        """Whether that is how it is. A new leader tells its timeline a moment after it has the lock."""
        return now in (self, replace(self, timeline=now.timeline) if self.timeline is None else self)


class StillAtWork(Exception):  # noqa: N818 - a state, not an error
    """The statements go on beside the pass, or wait for others that do; the cluster is looked at again when they end."""


class Overtaken(Exception):  # noqa: N818 - likewise
    """A password of pods was changed after the look: nothing is sent, for what was decided marks none of them for it."""


@dataclass(frozen=True, slots=True)
class _Run:
    """A group of statements that is being run, on the leader whose pod has this uid."""

    task: asyncio.Task[None]
    leader: str


@dataclass(slots=True)
class _Known:
    """What is remembered of one cluster. Groups of statements are named by their database."""

    basis: _Basis | None = None
    look: DatabaseLook = field(default_factory=DatabaseLook)
    read_at: float = float("-inf")  # seconds of the loop's clock
    task: asyncio.Task[None] | None = None
    changes: int = 0  # how often something was run: a look that began before is out of date when it ends
    patience_s: float = 0.0  # what is left of it in this pass
    runs: dict[str, _Run] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)  # what was said when a group was run last
    late: dict[str, BaseException] = field(default_factory=dict)  # failures that no pass has heard of yet
    logged: frozenset[str] = frozenset()  # of what is left as it is

    def is_runnable(self, group: str) -> bool:
        """Passwords and roles wait for no database that is being copied."""
        if group in self.runs:
            return False
        return group == MAINTENANCE_DATABASE or len(self.runs) < MOST_BESIDE

    def cancel(self, *, but_on: str | None = None) -> None:
        """End what is being run, `but_on` the leader whose pod has this uid."""
        for group, run in tuple(self.runs.items()):
            if run.leader != but_on:
                del self.runs[group]
                if not run.task.cancelling():  # twice, and the server is not told any more
                    run.task.cancel()


class Databases:
    """Belongs to one event loop. `notify(key)` is called when a look has ended.

    `permit` is asked right before each statement, and before what it has done is committed.
    """

    def __init__(
        self,
        client: Client,
        *,
        notify: Callable[[Key], None],
        refresh_s: float,
        permit: Permit,
        server: Server = postgres,
    ) -> None:
        self._client = client
        self._server = server
        self._notify = notify
        self._refresh_s = refresh_s
        self._permit = permit
        self.patience_s = PATIENCE_S
        self._known: dict[Key, _Known] = {}
        self._checks = PasswordChecks()

    def look(self, situation: Situation) -> DatabaseLook:
        """What is known now; starts a new look where that is out of date. Never waits."""
        if not situation.manages_databases:
            return DatabaseLook()
        cluster = situation.cluster
        key, basis = (cluster.key.namespace, cluster.key.name), _basis(situation)
        known = self._known.setdefault(key, _Known())
        known.patience_s = self.patience_s
        known.cancel(but_on=basis.leader)
        if known.basis is not None and known.basis.is_still(basis):
            known.basis = basis
        if known.task is None and self._is_due(known, basis):
            known.task = asyncio.create_task(self._read(key, known, situation), name=f"databases {key}")
        # What was decided for another request, or for other Secrets, must not be done any more.
        look = known.look if known.basis == basis else replace(_forgotten(known.look), is_due=True)
        return replace(
            look,
            statements=tuple((group, found) for group, found in look.statements if known.is_runnable(group)),
            failures=tuple(known.failures.items()),
            at_work=frozenset(known.runs),
        )

    def _is_due(self, known: _Known, basis: _Basis) -> bool:
        age_s = asyncio.get_running_loop().time() - known.read_at
        if known.look.error is not None:
            return age_s >= RETRY_AFTER_S
        if (known.look.stream_problems or known.look.problems) and age_s >= TABLES_AFTER_S:
            return True
        return known.basis != basis or age_s >= self._refresh_s

    async def run(self, situation: Situation, database: str, statements: tuple[Statement, ...]) -> None:
        """Run the statements that concern one database on the leader.

        Raises ExternalError with what the server refused, NotLeading, Overtaken, and StillAtWork where they go on beside the
        pass; if they fail then, the next call says so and tries nothing.
        """
        key = (situation.cluster.key.namespace, situation.cluster.key.name)
        known, now = self._known.setdefault(key, _Known()), asyncio.get_running_loop().time
        if (late := known.late.pop(database, None)) is not None:
            raise late
        if known.patience_s <= 0 or not known.is_runnable(database):
            raise StillAtWork
        sending = self._ran(known, situation, database, statements)
        task = asyncio.create_task(sending, name=f"statements {key} {database}")
        known.runs[database] = _Run(task, _basis(situation).leader)
        began_s = now()
        try:
            await asyncio.wait((task,), timeout=known.patience_s)
        except asyncio.CancelledError:
            task.cancel()
            raise
        known.patience_s -= now() - began_s
        if not task.done():
            task.add_done_callback(partial(self._ended_late, key, known, database))
            raise StillAtWork
        known.runs.pop(database, None)
        if task.cancelled():
            raise NotLeading
        task.result()

    def _ended_late(self, key: Key, known: _Known, database: str, task: asyncio.Task[None]) -> None:
        """Statements that no pass waits for any more have ended."""
        run = known.runs.get(database)
        if run is None or run.task is not task:  # given up: they are another leader's, or the cluster is gone
            return
        del known.runs[database]
        error = None if task.cancelled() else task.exception()
        said = None if error is None else str(error)
        _log.info("statements ended", namespace=key[0], cluster=key[1], database=database, error=said)
        if error is not None and not isinstance(error, NotLeading):
            known.late[database] = error
        self._notify(key)

    async def _ran(self, known: _Known, situation: Situation, database: str, statements: tuple[Statement, ...]) -> None:
        try:
            await self._send(situation, statements)
        except (ExternalError, KubeError) as error:
            known.failures[database] = str(error)
            raise
        else:
            known.failures.pop(database, None)
        finally:
            self.forget_look(situation)

    async def _send(self, situation: Situation, statements: tuple[Statement, ...]) -> None:
        """Raises ExternalError with what the server refused, and Overtaken."""
        cluster = situation.cluster
        found_secrets = await self._secrets(situation)
        if _is_overtaken(situation, found_secrets):
            raise Overtaken("the password of a role of the system was changed in its Secret")
        passwords = passwords_in(found_secrets)
        try:
            outcome = await self._server.apply(
                _target(situation, passwords),
                statements,
                passwords,
                method=cluster.access.password_encryption,
                permit=self._permit,
            )
        except AuthenticationFailed:
            if not _sets_password(statements, cluster.access.super_username):
                raise  # the next look is locked out, and marks the pods first
            await self._repair(situation, passwords)
            # Refused again, the password was not the reason: that is a failure, and no success to be repeated.
            await self._server.observe(_target(situation, passwords), NOTHING_IN_PARTICULAR)
            return
        if outcome.failed:
            said = "; ".join(f"{f.statement.reason}: {f.error.message}" for f in outcome.failed[:3])
            raise ExternalError("postgres", transient=True, message=said)

    def forget_look(self, situation: Situation) -> None:
        """What was read is out of date."""
        key = (situation.cluster.key.namespace, situation.cluster.key.name)
        if (known := self._known.get(key)) is not None:
            known.basis = None
            known.changes += 1
            known.look = _forgotten(known.look)

    def forget(self, key: Key) -> None:
        """The cluster is gone."""
        if (known := self._known.pop(key, None)) is not None:
            known.cancel()
            if known.task is not None:
                known.task.cancel()

    def end_statements(self) -> tuple[asyncio.Task[None], ...]:
        """End what is being run for any cluster: the lead is lost. What may still have to end."""
        tasks = tuple(run.task for known in self._known.values() for run in known.runs.values())
        for known in self._known.values():
            known.cancel()
        return tasks

    async def close(self) -> None:
        """End everything. A server that does not answer is not waited for: nothing more is sent to it."""
        looks = tuple(known.task for known in self._known.values() if known.task is not None)
        for look in looks:
            look.cancel()
        if ending := (*self.end_statements(), *looks):
            await asyncio.wait(ending, timeout=CLOSE_S)

    async def _read(self, key: Key, known: _Known, situation: Situation) -> None:
        changes = known.changes
        try:
            async with asyncio.timeout(LOOK_TIMEOUT_S):
                known.look = await self._looked(situation)
            _log_unmet(key, known)
            lacking = {group for group, _ in known.look.statements}
            for said in (known.failures, known.late):
                for group in said.keys() - lacking:
                    del said[group]
        except (ExternalError, KubeError, TimeoutError) as error:
            known.look = DatabaseLook(error=str(error) or "the databases did not answer in time")
            _log.info("databases not read", namespace=key[0], cluster=key[1], error=str(error))
        finally:
            known.basis, known.task = _basis(situation) if known.changes == changes else None, None
            known.read_at = asyncio.get_running_loop().time()
            self._notify(key)
            if known.look.stream_problems or known.look.problems:  # nothing tells us when a table is made
                asyncio.get_running_loop().call_later(TABLES_AFTER_S, self._notify, key)

    async def _looked(self, situation: Situation) -> DatabaseLook:
        cluster = situation.cluster
        asked = roles_and_databases(cluster.access, cluster.names)
        found_secrets = await self._secrets(situation)
        passwords, held = passwords_in(found_secrets), held_secrets(found_secrets)
        desired = with_logins(asked, held)
        try:
            wanted = interest_in_logins(interest(desired), asked)
            catalogue = await self._server.observe(_target(situation, passwords), wanted)
        except AuthenticationFailed:
            return _locked_out(cluster, asked)
        desired = as_in_server(desired, catalogue)
        waiting = _without_password(desired, catalogue, passwords)
        desired = without_roles(desired, waiting)
        matching = await self._checks.matching(desired.roles, catalogue, passwords)
        everything = difference(desired, catalogue, matching=matching)
        rules = cluster.access.rotation
        unread = frozenset(request.username for request in cluster.secrets) - {one.role for one in held}
        gone = await self._farewells(situation, desired, catalogue, passwords, unread)
        found = (
            *(s for s in everything if s.password is None or s.password.source in passwords),
            *(s for s in gone if isinstance(s, Statement)),
        )
        edited = frozenset(role for role in _system_roles(cluster) if _sets_password(found, role))
        return DatabaseLook(
            statements=by_database(found),
            edited=edited,
            is_known=True,
            without_password=waiting
            | {s.password.role for s in everything if s not in found and s.password is not None},
            server_version=catalogue.version,
            rotations=rotations(asked, held, catalogue, everything, rules),
            kept=tuple(one for one in gone if isinstance(one, Kept)),
            publications=publications_in_place(desired, catalogue),
            stream_problems=missing_for_publications(desired, catalogue),
            problems=unreadable(desired, catalogue),
            unmet=unmet(desired, catalogue),
        )

    async def _farewells(
        self,
        situation: Situation,
        desired: Desired,
        catalogue: Catalogue,
        passwords: Mapping[PasswordSource, Password],
        unread: frozenset[str],
    ) -> tuple[Statement | Kept, ...]:
        """Replicas are asked only where the leader would let somebody go."""
        rules, now = situation.cluster.access.rotation, situation.observed.now
        asked = removals(desired, catalogue, rules, now, unread=unread)
        found = tuple(farewells(desired, catalogue, asked))
        leaving = frozenset(one.subject for one in found if isinstance(one, Statement))
        if not leaving:
            return found
        seen = await replicas.replica_sessions(self._server, situation, _target(situation, passwords), leaving)
        return tuple(farewells(desired, catalogue, asked, seen))

    async def _repair(self, situation: Situation, passwords: Mapping[PasswordSource, Password]) -> None:
        """The superuser's password in the server is not the Secret's: the local socket inside the pod is the way back.

        What the role, the database or the file set for sessions holds there as little as for those over the network.
        """
        cluster, view = situation.cluster, situation.leader_view
        superuser = cluster.access.super_username
        password = passwords.get(PasswordSource(superuser, cluster.key.namespace))
        if view is None or password is None:
            raise ExternalError("postgres", transient=True, message=f"no leader, or no password of {superuser}")
        salt = secrets.token_bytes(SALT_BYTES)
        verifier = await asyncio.to_thread(
            new_verifier, password.value, superuser, salt, cluster.access.password_encryption
        )
        done = await self._client.permitted_by(self._permit).exec(
            view.name,
            namespace=cluster.key.namespace,
            container=cluster.postgres.name,
            argv=(
                *("env", f"PGOPTIONS={session_options(_target(situation, passwords))}"),
                *("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-U", superuser, "-d", MAINTENANCE_DATABASE),
            ),
            stdin=repair_password_sql(superuser, verifier).encode(),
            timeout_s=REPAIR_TIMEOUT_S,
        )
        if done.exit_code != 0:
            # What psql says may quote the statement, and with it the verifier.
            message = (
                f"psql in Pod {view.name} ended with code {done.exit_code} when it set the password of {superuser}"
            )
            raise ExternalError("postgres", transient=True, message=message)

    async def _secrets(self, situation: Situation) -> RoleSecrets:
        """All Secrets of the cluster's roles, as they were seen or newer: one list, and one read for each that is not in it.

        One in another namespace that may not be read is as good as missing: only its role waits.
        """
        cluster = situation.cluster
        wanted = {(request.namespace, request.name): request for request in cluster.secrets}
        mine = partial(self._client.list, SECRETS, namespace=cluster.key.namespace, labels=cluster.labels.selector_text)
        try:
            listed = await mine(not_older_than=_newest(_own_secrets(situation).values()))
        except ServerUnavailable as error:
            if error.status != HTTPStatus.GATEWAY_TIMEOUT:
                raise
            listed = await mine()  # this server has not come as far yet, or its storage was set back
        found = {(s["metadata"]["namespace"], s["metadata"]["name"]): s for s in listed.items}
        for place in wanted:
            # In another namespace, or of the pooler's role, whose labels are other ones.
            if place not in found:
                try:
                    found[place] = await self._client.get(SECRETS, place[1], namespace=place[0])
                except NotFound:
                    continue
                except Forbidden:
                    if place[0] == cluster.key.namespace:
                        raise
        return tuple((request, found[place]) for place, request in wanted.items() if place in found)


def _log_unmet(key: Key, known: _Known) -> None:
    """Each sentence once, for as long as it holds."""
    for sentence in known.look.unmet:
        if sentence not in known.logged:
            _log.info("cannot be brought in place", namespace=key[0], cluster=key[1], what=sentence)
    known.logged = frozenset(known.look.unmet)


def _forgotten(look: DatabaseLook) -> DatabaseLook:
    """Without what is to be done because of it."""
    return replace(look, statements=(), edited=frozenset(), rotations=(), kept=())


def _without_password(
    desired: Desired, catalogue: Catalogue, passwords: Mapping[PasswordSource, Password]
) -> frozenset[str]:
    """Roles that are not there and cannot be made, for nobody knows their password."""
    return frozenset(
        role.name
        for role in desired.roles
        if role.name not in catalogue.roles and role.flags.login is not False
        if role.password is not None and role.password not in passwords
    )


def _locked_out(cluster: Cluster, desired: Desired) -> DatabaseLook:
    """Nothing can be read before the superuser has the password of its Secret again."""
    superuser = cluster.access.super_username
    role = next(role for role in desired.roles if role.name == superuser)
    change = tuple(password_change(role))
    return DatabaseLook(statements=(("postgres", change),), edited=frozenset({superuser}), is_known=True)


def _target(situation: Situation, passwords: Mapping[PasswordSource, Password]) -> Target:
    cluster, view = situation.cluster, situation.leader_view
    address = view.pod.status.pod_ip if view is not None else None
    password = passwords.get(PasswordSource(cluster.access.super_username, cluster.key.namespace))
    if address is None or password is None:
        superuser = cluster.access.super_username
        missing = (
            "address of the leader" if address is None else f"password in Secret {cluster.names.secret(superuser)}"
        )
        raise ExternalError("postgres", transient=True, message=f"there is no {missing}")
    identifier = situation.config.initialize
    return Target(
        host=address,
        user=cluster.access.super_username,
        password=password.value,
        system_identifier=int(identifier) if identifier and identifier.isdigit() else None,
        sends_clear_text=cluster.access.sends_clear_text,
    )


def _basis(situation: Situation) -> _Basis:
    cluster, view = situation.cluster, situation.leader_view
    timeline = view.member.timeline if view is not None and view.member is not None else None
    versions = ((*place, s.metadata.resource_version) for place, s in _own_secrets(situation).items())
    request = (cluster.uid, cluster.generation, cluster.access)
    return _Basis(request, view.pod.metadata.uid if view else "", timeline, tuple(sorted(versions)))


def _is_overtaken(situation: Situation, found: RoleSecrets) -> bool:
    """Whether a Secret of a role of the system is another one than that which the decision was made from."""
    system, seen = _system_roles(situation.cluster), _own_secrets(situation)
    return any(
        known.metadata.resource_version != secret["metadata"]["resourceVersion"]  # unique among all of a server
        for request, secret in found
        if request.username in system
        if (known := seen.get((request.namespace, request.name))) is not None
    )


def _system_roles(cluster: Cluster) -> frozenset[str]:
    """Roles whose passwords members get when they start."""
    return frozenset({cluster.access.super_username, cluster.access.replication_username})


def _sets_password(statements: Iterable[Statement], role: str) -> bool:
    return any(s.password is not None and s.password.role == role for s in statements)


def _own_secrets(situation: Situation) -> Mapping[tuple[str, str], SecretMeta]:
    """Those of the cluster's roles that were seen, by namespace and name."""
    wanted = {(request.namespace, request.name) for request in situation.cluster.secrets}
    return {place: secret for place, secret in situation.observed.secrets.items() if place in wanted}


def _newest(secrets: Iterable[SecretMeta]) -> str:
    """The highest of their versions; none where they are not numbers, as they are at every API server that is known."""
    versions = [secret.metadata.resource_version for secret in secrets]
    return max(versions, key=int, default="") if all(version.isdigit() for version in versions) else ""

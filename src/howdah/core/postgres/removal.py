"""Roles that shall go: rotated logins past their retention, and users that the manifest says to drop.

One step at a time, each decided anew from the catalogue: no more logins, then what it owns is handed over and its
privileges end (only where the manifest says to whom), then it is dropped. A role that we did not make, that somebody is
connected with, or that owns something which nobody inherits stays, and why is said. A replica has sessions of its own: one
that cannot be asked may have some.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from howdah.core.postgres import statements as make
from howdah.model.postgres.catalogue import Catalogue, ReplicaSessions, Role, Ties
from howdah.model.postgres.desired import Desired, Flags, Removal
from howdah.model.postgres.statements import MAINTENANCE_DATABASE, Kind, Statement


@dataclass(frozen=True, slots=True)
class Kept:
    """A statement that is due and not sent, and why not."""

    statement: Statement
    why: str


NO_REPLICAS = ReplicaSessions()


def farewells(
    desired: Desired, catalogue: Catalogue, removals: tuple[Removal, ...], replicas: ReplicaSessions = NO_REPLICAS
) -> Iterator[Statement | Kept]:
    """The next step for each role that shall go; nothing for one that is gone, or that is desired."""
    wanted = {role.name for role in desired.roles}
    for removal in removals:
        live = catalogue.roles.get(removal.role)
        if live is not None and removal.role not in wanted:
            yield from _farewell(removal, live, catalogue, replicas)


def _farewell(
    removal: Removal, live: Role, catalogue: Catalogue, replicas: ReplicaSessions
) -> Iterator[Statement | Kept]:
    ties = live.ties or Ties()
    steps = tuple(_next_steps(removal, live, ties))
    why = why_kept(removal, live, catalogue) or _used_on_replicas(live.name, replicas)
    yield from (Kept(step, why) if why is not None else step for step in steps)


def why_kept(removal: Removal, live: Role, catalogue: Catalogue) -> str | None:
    """Why a role may not go yet, as a sentence for people."""
    ties = live.ties
    if live.comment != removal.note:
        return (
            f'"{live.name}" is not known to be made by the operator; '
            f"COMMENT ON ROLE \"{live.name}\" IS '{removal.note}' says that it is"
        )
    if ties is None:
        return f'nobody looked yet what "{live.name}" owns'
    if ties.sessions:
        return f'"{live.name}" has {ties.sessions} open session{"s" if ties.sessions > 1 else ""}'
    if ties.members:
        return f'{", ".join(ties.members)} would lose what membership in "{live.name}" gives'
    if ties.objects and removal.reassign_to is None:
        where = ", ".join(
            f"{count} in {database or 'all databases'}" for database, count in sorted(ties.objects.items())
        )
        return f'"{live.name}" owns objects or has privileges on some ({where})'
    if ties.objects and removal.reassign_to not in catalogue.roles:
        return f'there is no role "{removal.reassign_to}" that could get what "{live.name}" owns'
    return _unreachable(ties, catalogue)


def _used_on_replicas(role: str, replicas: ReplicaSessions) -> str | None:
    if there := replicas.counts.get(role):
        count = sum(there.values())
        return f'"{role}" has {count} open session{"s" if count > 1 else ""} on {", ".join(sorted(there))}'
    for member, why in sorted(replicas.unanswered.items()):
        return f'"{role}" may have sessions on {member}, which is waited for: {why}'
    return None


def _unreachable(ties: Ties, catalogue: Catalogue) -> str | None:
    live = catalogue.databases
    closed = sorted(
        name for name in ties.objects if name in catalogue.unread or (name in live and not live[name].takes_connections)
    )
    return f"database {', '.join(closed)} takes no connections" if closed else None


def _next_steps(removal: Removal, live: Role, ties: Ties) -> Iterator[Statement]:
    name = removal.role
    if live.flags.login:
        statement = make.alter_role(name, Flags(login=False))
        reason = f'role "{name}" is to be dropped, so nobody may log in with it'
        yield Statement(Kind.ALTER_ROLE, name, MAINTENANCE_DATABASE, statement, reason)
    elif ties.objects and removal.reassign_to is not None:
        yield from _handed_over(name, removal.reassign_to, ties)
    else:
        yield Statement(Kind.DROP_ROLE, name, MAINTENANCE_DATABASE, make.drop_role(name), _reason(removal))


def _handed_over(name: str, heir: str, ties: Ties) -> Iterator[Statement]:
    """What it owns first, which fails while somebody uses it for long; its privileges when it owns nothing any more."""
    owned = {database or MAINTENANCE_DATABASE for database in ties.owned}
    for database in sorted({database or MAINTENANCE_DATABASE for database in ties.objects}):
        if database in owned:
            reason = f'what role "{name}" owns in database "{database}" goes to "{heir}"'
            statement = make.hand_over(name, heir)
            yield Statement(Kind.HAND_OVER, name, database, statement, reason, otherwise=_by_hand(name, heir))
        else:
            reason = f'the privileges of role "{name}" in database "{database}" end'
            statement, parts = make.end_privileges(name), make.revoke_in_parts(name)
            yield Statement(
                Kind.END_PRIVILEGES, name, database, statement, reason, before=parts, otherwise=_REVOKED_BY_HAND
            )


def _by_hand(name: str, heir: str) -> str:
    return (
        "it is tried for a moment only, for its tables are shut meanwhile; where that never is enough, "
        f'REASSIGN OWNED BY "{name}" TO "{heir}" by hand when nobody needs them'
    )


_REVOKED_BY_HAND = (
    "it is tried for a moment only, for every CREATE waits meanwhile; where that never is enough, "
    "REVOKE by hand what the role may do, which nobody waits for"
)


def _reason(removal: Removal) -> str:
    return f'role "{removal.role}" is not asked for any more'

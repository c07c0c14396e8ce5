"""Roles of people who left their team: no login and another name; a person who comes back gets the role back.

Nothing is dropped, so what they own stays theirs, and memberships stay for a return. Whom an operator has seen as a
member is written in the role's comment (`TEAM_MEMBER`): a role that people made for themselves is never taken for one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from howdah.core.postgres import statements as make
from howdah.core.postgres.teams import as_kept
from howdah.model.postgres.catalogue import TEAM_MEMBER, Catalogue
from howdah.model.postgres.desired import Departures, Desired, Flags
from howdah.model.postgres.statements import MAINTENANCE_DATABASE, Kind, Statement


def departed_name(name: str, departures: Departures) -> str:
    """The name of the role after its person left, as the server keeps it."""
    return as_kept(f"{name}{departures.suffix}")


def former_names(desired: Desired) -> frozenset[str]:
    """The names under which roles of people who come back may be found."""
    if desired.departures is None:
        return frozenset()
    return frozenset(departed_name(role.name, desired.departures) for role in desired.roles if role.is_person)


def returning(desired: Desired, catalogue: Catalogue) -> Mapping[str, str]:
    """The roles to be renamed back, by the name that they have now."""
    if desired.departures is None:
        return {}
    wanted = {role.name for role in desired.roles}
    return {
        former: role.name
        for role in desired.roles
        if role.is_person and role.name not in catalogue.roles
        if (former := departed_name(role.name, desired.departures)) in catalogue.roles
        if former not in wanted and catalogue.roles[former].flags.login is False
    }


def renamed(catalogue: Catalogue, names: Mapping[str, str]) -> Catalogue:
    """The catalogue after these roles have been renamed."""
    if not names:
        return catalogue
    roles = {
        names.get(name, name): replace(role, name=names[name]) if name in names else role
        for name, role in catalogue.roles.items()
    }
    return replace(catalogue, roles=roles)


def returns(names: Mapping[str, str]) -> Iterator[Statement]:
    """Renames back; the login comes with everything else that such a role shall have."""
    for former, name in sorted(names.items()):
        yield _rename(former, name, f'"{name}" is a member of a team again')


def departs(desired: Desired, catalogue: Catalogue) -> Iterator[Statement]:
    """No login first, which is what matters, then the new name where it is free."""
    if desired.departures is None or not desired.departures.is_complete:
        return
    wanted = {role.name for role in desired.roles}
    for name, role in sorted(catalogue.roles.items()):
        if name in wanted or not role.is_marked:
            continue
        because = f'"{name}" is no member of a team any more'
        if role.flags.login:
            text = make.alter_role(name, Flags(login=False))
            yield Statement(Kind.ALTER_ROLE, name, MAINTENANCE_DATABASE, text, because)
        new = departed_name(name, desired.departures)
        if new not in catalogue.roles and not name.endswith(desired.departures.suffix):
            yield _rename(name, new, because)


def marks(desired: Desired, catalogue: Catalogue) -> Iterator[Statement]:
    """Each member's role says that it is one, and no other does; what people wrote in a comment stays."""
    if desired.departures is None:
        return
    for role in desired.roles:
        live = catalogue.roles.get(role.name)
        if (live is not None and live.is_marked) is role.is_person:
            continue
        comment = (live.comment or "") if live is not None else ""
        text = _marked(comment) if role.is_person else _unmarked(comment)
        said = f'role "{role.name}" is {"that of" if role.is_person else "no more that of"} a member of a team'
        yield Statement(Kind.COMMENT_ROLE, role.name, MAINTENANCE_DATABASE, make.comment_role(role.name, text), said)


def _marked(comment: str) -> str:
    return f"{comment} {TEAM_MEMBER}".strip()


def _unmarked(comment: str) -> str:
    return comment.replace(TEAM_MEMBER, "").strip()


def _rename(name: str, to: str, because: str) -> Statement:
    return Statement(Kind.RENAME_ROLE, name, MAINTENANCE_DATABASE, make.rename_role(name, to), because)

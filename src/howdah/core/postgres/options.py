"""`userOptions` and `databaseOptions` of a manifest: what may be asked of a role or database beside flags and owner.

Options join a desired state that users, databases and prepared databases have made; they make no role or database by
themselves. The one exception goes the other way: `removal` speaks of a role that is no longer asked for.
"""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from howdah.core.postgres import statements as make
from howdah.core.postgres.identifiers import setting_items
from howdah.model.errors import Problem
from howdah.model.postgres.catalogue import Catalogue
from howdah.model.postgres.desired import DatabaseOptions, Desired, DesiredRole, Removal, RoleRules, UserOptions
from howdah.model.postgres.statements import MAINTENANCE_DATABASE, Kind, Statement

MADE_BY_US = "made by the postgres operator"
"""The comment of a role that we made; what we did not make is never dropped."""


def with_options(
    desired: Desired,
    users: Mapping[str, UserOptions],
    databases: Mapping[str, DatabaseOptions],
    *,
    rules: RoleRules,
) -> Desired:
    """The desired state with what the options add to it, and with their mistakes."""
    untouchable = {rules.super_username, rules.replication_username, *rules.protected}
    asked = {name: options for name, options in users.items() if name not in untouchable}
    roles = tuple(_role(role, asked.get(role.name), rules) for role in desired.roles)
    known = {role.name for role in roles}
    gone = {name: options for name, options in asked.items() if name not in known}
    held = tuple(
        replace(database, options=databases.get(database.name, database.options)) for database in desired.databases
    )
    return replace(
        desired,
        roles=roles,
        databases=held,
        removals=tuple(_removals(gone)),
        errors=tuple(sorted({*desired.errors, *_circles(roles, asked)})),
        warnings=tuple(sorted({*desired.warnings, *_doubts(desired, users, asked, gone, databases)})),
    )


def _role(role: DesiredRole, options: UserOptions | None, rules: RoleRules) -> DesiredRole:
    note = "" if role.name in (rules.super_username, rules.replication_username) else MADE_BY_US
    if options is None:
        return replace(role, note=note)
    member_of = tuple(dict.fromkeys((*role.member_of, *options.member_of)))
    return replace(
        role,
        note=note,
        member_of=member_of,
        # As with additional owner roles: what it is a member of cannot be its admin as well.
        admins=tuple(name for name in role.admins if name not in options.member_of),
        connection_limit=options.connection_limit,
        valid_until=None if options.valid_until is None else instant(options.valid_until),
        parameters={**role.parameters, **options.parameters},
        database_parameters=options.database_parameters,
    )


def _removals(gone: Mapping[str, UserOptions]) -> Iterator[Removal]:
    for name, options in sorted(gone.items()):
        if options.removal == "drop" or (options.removal == "reassign" and options.reassign_to):
            yield Removal(name, MADE_BY_US, options.reassign_to if options.removal == "reassign" else None)


def instant(written: str) -> str:
    """A time as the catalogue is read: UTC, to the second; `infinity` is no limit. Raises ValueError."""
    if written == "infinity":
        return written
    found = dt.datetime.fromisoformat(written)
    if found.tzinfo is None:
        raise ValueError(f'"{written}" has no offset; write 2027-01-31T12:00:00Z')
    return found.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _circles(roles: Sequence[DesiredRole], asked: Mapping[str, UserOptions]) -> Iterator[Problem]:
    """PostgreSQL refuses a circle of memberships, so one of them would be granted anew for ever."""
    parents = {role.name: role.member_of for role in roles}
    for name in sorted(asked.keys() & parents.keys()):
        seen: set[str] = set()
        todo = list(parents[name])
        while todo:
            other = todo.pop()
            if other not in seen:
                seen.add(other)
                todo += parents.get(other, ())
        if name in seen:
            message = f'"{name}" would be a member of itself'
            yield Problem(f"{_at(name)}.memberOf", message, "remove one of the memberships")


def _at(name: str) -> str:
    return f"spec.userOptions[{name}]" if "." in name else f"spec.userOptions.{name}"


def _doubts(
    desired: Desired,
    users: Mapping[str, UserOptions],
    asked: Mapping[str, UserOptions],
    gone: Mapping[str, UserOptions],
    databases: Mapping[str, DatabaseOptions],
) -> Iterator[Problem]:
    for name in sorted(users.keys() - asked.keys()):
        yield Problem(_at(name), f'"{name}" is a role of the system', "this entry is left out")
    for name, options in sorted(gone.items()):
        if options.removal == "retain":
            message = f'"{name}" is no user of this manifest'
            yield Problem(_at(name), message, f'add "{name}" to spec.users; this entry is left out')
    made = {database.name for database in desired.databases}
    for name in sorted(databases.keys() - made):
        message = f'"{name}" is no database of this manifest'
        yield Problem(f"spec.databaseOptions.{name}", message, "this entry is left out")


# --- against the catalogue ----------------------------------------------------------------------------------------


def role_limits(desired: Desired, catalogue: Catalogue) -> Iterator[Statement]:
    """Connection limits, times of validity, and notes of roles that exist."""
    for role in desired.roles:
        live = catalogue.roles.get(role.name)
        held_limit, held_until = (-1, None) if live is None else (live.connection_limit, live.valid_until)
        limit = role.connection_limit if role.connection_limit not in (None, held_limit) else None
        until = role.valid_until if role.valid_until not in (None, held_until or "infinity") else None
        if limit is not None or until is not None:
            said = (
                f"at most {limit} connections" if limit is not None else "",
                f"valid until {until}" if until else "",
            )
            yield Statement(
                Kind.ALTER_ROLE,
                role.name,
                MAINTENANCE_DATABASE,
                make.limit_role(role.name, connections=limit, valid_until=until),
                f'role "{role.name}" shall have {" and be ".join(filter(None, said))}',
            )
        if role.claims_note and live is not None and live.comment is None:
            yield Statement(
                Kind.COMMENT_ROLE,
                role.name,
                MAINTENANCE_DATABASE,
                make.comment_role(role.name, role.note),
                f'role "{role.name}" is ours, and does not say so',
            )


def parameters_in_databases(desired: Desired, catalogue: Catalogue) -> Iterator[Statement]:
    """ALTER ROLE … IN DATABASE … SET, for databases that exist or are being made."""
    there = catalogue.databases.keys() | {database.name for database in desired.databases}
    for role in desired.roles:
        live = catalogue.roles.get(role.name)
        for database, parameters in sorted(role.database_parameters.items()):
            found = {} if live is None else live.database_settings.get(database, {})
            held = {name.lower(): value for name, value in found.items()}
            for name, value in sorted(parameters.items()):
                items = setting_items(name, value)
                is_held = name.lower() in held and items == setting_items(name, held[name.lower()])
                if database in there and not is_held:
                    yield Statement(
                        Kind.PARAMETER,
                        role.name,
                        MAINTENANCE_DATABASE,
                        make.set_parameter_in(role.name, database, name, items),
                        f'{name} of role "{role.name}" in database "{database}" shall be {", ".join(items)}',
                        about=database,
                    )


def database_limits(desired: Desired, catalogue: Catalogue) -> Iterator[Statement]:
    """Connection limits of databases that exist."""
    for database in desired.databases:
        live, limit = catalogue.databases.get(database.name), database.options.connection_limit
        if live is None or live.is_invalid:
            continue
        if limit is not None and limit != live.connection_limit:
            yield Statement(
                Kind.DATABASE_LIMIT,
                database.name,
                MAINTENANCE_DATABASE,
                make.limit_database(database.name, limit),
                f'database "{database.name}" shall take at most {limit} connections, not {live.connection_limit}',
                about=database.name,
            )


def fixed_options(desired: Desired, catalogue: Catalogue) -> Iterator[str]:
    """What a database that exists has otherwise than asked, and keeps; sentences for people."""
    for database in desired.databases:
        live = catalogue.databases.get(database.name)
        if live is None:
            continue
        pairs = (
            ("encoding", database.options.encoding, live.encoding),
            ("locale", database.options.locale, live.locale),
        )
        for what, wanted, held in pairs:
            if wanted is not None and _plain(wanted) != _plain(held):
                yield f'database "{database.name}" has {what} {held}; {wanted} can only be given when it is made'


def _plain(word: str) -> str:
    """`en_US.UTF-8` and `en_US.utf8` are one locale, `UTF-8` and `UTF8` one encoding."""
    return word.lower().replace("-", "").replace("_", "")

"""What has to be done so that the catalogue holds what is desired: statements in order, none when it does.

Only what is desired is added or aligned. Nothing is dropped; a membership is revoked only where the
opposite one is asked for, since PostgreSQL refuses circles.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from howdah.core.postgres import statements as make
from howdah.core.postgres.departures import departs, former_names, marks, renamed, returning, returns
from howdah.core.postgres.identifiers import parameter_name_fault, setting_items
from howdah.core.postgres.lookup import lookup_statements
from howdah.core.postgres.options import database_limits, fixed_options, parameters_in_databases, role_limits
from howdah.core.postgres.publications import publication_changes
from howdah.model.postgres.catalogue import EMPTY, Catalogue, Contents, Interest, Role
from howdah.model.postgres.desired import Desired, DesiredDatabase, DesiredRole, Flags
from howdah.model.postgres.statements import MAINTENANCE_DATABASE, Kind, NewPassword, Statement


def difference(desired: Desired, catalogue: Catalogue, *, matching: frozenset[str]) -> tuple[Statement, ...]:
    """The statements that are missing; `matching`: the roles whose stored verifier fits their password.

    Roles come first, then memberships, databases and what is in them, and the pooler's function in every database.
    """
    back = returning(desired, catalogue)
    gone = departs(desired, catalogue)
    catalogue = renamed(catalogue, back)
    steps = (
        gone,
        returns(back),
        _roles(desired, catalogue, matching),
        role_limits(desired, catalogue),
        _parameters(desired, catalogue),
        _memberships(desired, catalogue),
        marks(desired, catalogue),
        _databases(desired, catalogue),
        database_limits(desired, catalogue),
        parameters_in_databases(desired, catalogue),
        _all_contents(desired, catalogue),
        _lookups(desired, catalogue),
        publication_changes(desired, catalogue),
    )
    return tuple(statement for step in steps for statement in step)


def interest(desired: Desired) -> Interest:
    """The part of a catalogue that `difference` looks at."""
    published: dict[str, frozenset[tuple[str, str]]] = {}
    for publication in desired.publications:
        before = published.get(publication.database, frozenset())
        published[publication.database] = before | set(publication.tables)
    named = {name for role in desired.roles for name in (role.name, *role.member_of, *role.admins)}
    return Interest(
        frozenset(named | {database.owner for database in desired.databases} | former_names(desired)),
        frozenset(database.name for database in desired.databases if database.has_contents),
        published,
        departed_suffix=None if desired.departures is None else desired.departures.suffix,
        every_database=desired.lookup is not None,
    )


def without_roles(desired: Desired, roles: frozenset[str]) -> Desired:
    """What can be brought in place while these roles cannot be made: not what they own, nor what names them."""
    if not roles:
        return desired
    lookup = desired.lookup
    return replace(
        desired,
        roles=tuple(role for role in desired.roles if role.name not in roles),
        databases=tuple(_without_roles(one, roles) for one in desired.databases if one.owner not in roles),
        lookup=None if lookup is not None and {lookup.user, lookup.owner} & roles else lookup,
    )


def _without_roles(database: DesiredDatabase, roles: frozenset[str]) -> DesiredDatabase:
    return replace(
        database,
        schemas=tuple(
            replace(schema, usage=tuple(user for user in schema.usage if user not in roles))
            for schema in database.schemas
            if schema.owner not in roles
        ),
        default_privileges=tuple(
            privilege for privilege in database.default_privileges if not {privilege.creator, privilege.grantee} & roles
        ),
    )


def unmet(desired: Desired, catalogue: Catalogue) -> tuple[str, ...]:
    """What cannot be brought in place by a statement of ours, as sentences for people."""
    known = _known_roles(desired, catalogue)
    missing = sorted(
        (other, role.name) for role in desired.roles for other in (*role.member_of, *role.admins) if other not in known
    )
    fixed = (
        f'extension "{extension.name}" of database "{database.name}" is in schema "{held.schema}" and cannot be moved'
        for database in desired.databases
        if (contents := catalogue.contents.get(database.name)) is not None
        for extension in database.extensions
        if (held := contents.extensions.get(extension.name)) is not None
        if held.schema != extension.schema and not held.relocatable
    )
    return (
        *(f'role "{other}" does not exist, so "{name}" has no membership with it' for other, name in missing),
        *_logging_in(desired, catalogue),
        *fixed,
        *fixed_options(desired, catalogue),
    )


def _logging_in(desired: Desired, catalogue: Catalogue) -> Iterator[str]:
    """Roles that would be made without LOGIN, and have it: somebody may be using it."""
    for role in desired.roles:
        live = catalogue.roles.get(role.name)
        if role.keeps_login and role.flags.login is False and live is not None and live.flags.login:
            yield (
                f'role "{role.name}" was there before the prepared database and logs in, which it keeps; '
                f'ALTER ROLE "{role.name}" NOLOGIN ends that'
            )


def unreadable(desired: Desired, catalogue: Catalogue) -> tuple[str, ...]:
    """Which databases cannot be looked into, and why, as sentences for people; nothing is concluded about their inside."""
    wanted = {database.name for database in desired.databases} | {one.database for one in desired.publications}
    invalid = sorted(name for name in wanted if name in catalogue.databases and catalogue.databases[name].is_invalid)
    return (
        *(f'database "{name}" was half dropped and is of no use to anybody: drop it' for name in invalid),
        *(f'database "{name}" cannot be looked into: {why}' for name, why in sorted(catalogue.unread.items())),
    )


def _known_roles(desired: Desired, catalogue: Catalogue) -> frozenset[str]:
    return frozenset(catalogue.roles) | {role.name for role in desired.roles}


def _roles(desired: Desired, catalogue: Catalogue, matching: frozenset[str]) -> Iterator[Statement]:
    held = [(role, catalogue.roles.get(role.name)) for role in desired.roles]
    for role, live in held:
        if live is None:
            yield Statement(
                Kind.CREATE_ROLE,
                role.name,
                MAINTENANCE_DATABASE,
                make.create_role(role.name, role.flags),
                f'role "{role.name}" does not exist',
                _new_password(role),
                make.comment_role(role.name, role.note) if role.note else None,
            )
    for role, live in held:
        if live is not None:
            yield from _role_changes(role, live, has_password=role.name in matching)


def _role_changes(role: DesiredRole, live: Role, *, has_password: bool) -> Iterator[Statement]:
    flags = replace(role.flags, login=None) if role.keeps_login else role.flags
    differing = {name: value for name, value in flags.spoken() if getattr(live.flags, name) is not value}
    if differing:
        names = ", ".join(name if value else f"no{name}" for name, value in differing.items())
        yield Statement(
            Kind.ALTER_ROLE,
            role.name,
            MAINTENANCE_DATABASE,
            make.alter_role(role.name, Flags(**differing)),
            f'role "{role.name}" shall be {names}',
        )
    if not has_password:
        yield from password_change(role)


def password_change(role: DesiredRole) -> Iterator[Statement]:
    """Gives a role the password of its Secret; nothing for a role without one."""
    password = _new_password(role)
    if password is not None:
        yield Statement(
            Kind.PASSWORD,
            role.name,
            MAINTENANCE_DATABASE,
            make.alter_role(role.name, Flags()),
            f'the password of role "{role.name}" is not the one of its Secret',
            password,
        )


def _new_password(role: DesiredRole) -> NewPassword | None:
    if role.password is None or role.flags.login is False:
        return None
    return NewPassword(role.name, role.password)


def _parameters(desired: Desired, catalogue: Catalogue) -> Iterator[Statement]:
    for role in desired.roles:
        live = catalogue.roles.get(role.name)
        held = {} if live is None else {name.lower(): value for name, value in live.settings.items()}
        for name, value in sorted(role.parameters.items()):
            if (fault := parameter_name_fault(name)) is not None:
                raise ValueError(fault)
            items = setting_items(name, value) if isinstance(value, str) else value
            if name.lower() in held and _is_same(items, setting_items(name, held[name.lower()]), value):
                continue
            yield Statement(
                Kind.PARAMETER,
                role.name,
                MAINTENANCE_DATABASE,
                make.set_parameter(role.name, name, items),
                f'{name} of role "{role.name}" shall be {", ".join(items)}',
            )


def _is_same(wanted: tuple[str, ...], held: tuple[str, ...], written: str | tuple[str, ...]) -> bool:
    return wanted == held if isinstance(written, str) else sorted(wanted) == sorted(held)


def _memberships(desired: Desired, catalogue: Catalogue) -> Iterator[Statement]:
    """Grants; one with a role that does not exist is left for a later pass, `unmet` tells it."""
    known = _known_roles(desired, catalogue)
    held: Mapping[tuple[str, str], bool] = {
        (role, member.name): admin for member in catalogue.roles.values() for role, admin in member.member_of.items()
    }
    for role in desired.roles:
        for parent in role.member_of:
            if parent in known and (parent, role.name) not in held:
                if (role.name, parent) in held:
                    yield _revoke(role.name, parent)
                yield _grant(parent, role.name, admin=False)
        for admin in role.admins:
            if admin in known and not held.get((role.name, admin), False):
                yield _grant(role.name, admin, admin=True)


def _grant(role: str, member: str, *, admin: bool) -> Statement:
    what = "be an admin of" if admin else "be a member of"
    return Statement(
        Kind.GRANT_ROLE,
        member,
        MAINTENANCE_DATABASE,
        make.grant_role(role, member, admin=admin),
        f'role "{member}" shall {what} "{role}"',
    )


def _revoke(role: str, member: str) -> Statement:
    return Statement(
        Kind.REVOKE_ROLE,
        member,
        MAINTENANCE_DATABASE,
        make.revoke_role(role, member),
        f'role "{role}" shall be a member of "{member}", not the other way round',
    )


def _databases(desired: Desired, catalogue: Catalogue) -> Iterator[Statement]:
    # Making one takes longer than all else together: those first that need nothing more before they can be used.
    for database in sorted(desired.databases, key=lambda database: database.has_contents):
        live = catalogue.databases.get(database.name)
        if live is None:
            yield Statement(
                Kind.CREATE_DATABASE,
                database.name,
                MAINTENANCE_DATABASE,
                make.create_database(database.name, database.owner, database.options),
                f'database "{database.name}" does not exist',
                about=database.name,
            )
        elif live.owner != database.owner and not database.keep_owner and not live.is_invalid:
            yield Statement(
                Kind.DATABASE_OWNER,
                database.name,
                MAINTENANCE_DATABASE,
                make.change_database_owner(database.name, database.owner),
                f'database "{database.name}" belongs to "{live.owner}", not to "{database.owner}"',
                about=database.name,
            )


def _all_contents(desired: Desired, catalogue: Catalogue) -> Iterator[Statement]:
    for database in desired.databases:
        if database.name not in catalogue.databases:
            yield from _contents(database, EMPTY)
        elif database.name in catalogue.contents:
            yield from _contents(database, catalogue.contents[database.name])


def _contents(database: DesiredDatabase, live: Contents) -> Iterator[Statement]:
    yield from _schemas(database, live)
    yield from _extensions(database, live)
    yield from _default_privileges(database, live)


def _schemas(database: DesiredDatabase, live: Contents) -> Iterator[Statement]:
    for schema in database.schemas:
        held = live.schemas.get(schema.name)
        if held is None:
            yield Statement(
                Kind.CREATE_SCHEMA,
                database.name,
                database.name,
                make.create_schema(schema),
                f'schema "{schema.name}" of database "{database.name}" does not exist',
            )
        granted = held.privileges if held is not None else frozenset()
        lacking = tuple(name for name in schema.usage if (name, "USAGE") not in granted)
        if lacking:
            yield Statement(
                Kind.SCHEMA_USAGE,
                database.name,
                database.name,
                make.grant_usage(schema.name, lacking),
                f'schema "{schema.name}" of database "{database.name}" is not open to {", ".join(lacking)}',
            )


def _extensions(database: DesiredDatabase, live: Contents) -> Iterator[Statement]:
    for extension in database.extensions:
        held = live.extensions.get(extension.name)
        name = f'extension "{extension.name}" of database "{database.name}"'
        if held is None:
            yield Statement(
                Kind.CREATE_EXTENSION,
                database.name,
                database.name,
                make.create_extension(extension),
                f"{name} does not exist",
            )
        elif held.schema != extension.schema and held.relocatable:
            yield Statement(
                Kind.MOVE_EXTENSION,
                database.name,
                database.name,
                make.move_extension(extension),
                f'{name} is in schema "{held.schema}", not in "{extension.schema}"',
            )


def _default_privileges(database: DesiredDatabase, live: Contents) -> Iterator[Statement]:
    for wanted in database.default_privileges:
        held = live.default_privileges.get((wanted.creator, wanted.schema, wanted.objects), frozenset())
        if any((wanted.grantee, privilege) not in held for privilege in wanted.privileges):
            where = "" if wanted.schema is None else f' in schema "{wanted.schema}"'
            yield Statement(
                Kind.DEFAULT_PRIVILEGES,
                database.name,
                database.name,
                make.grant_default(wanted),
                f'{wanted.objects.lower()} that "{wanted.creator}" makes in database "{database.name}"{where} '
                f'are not open to "{wanted.grantee}"',
            )


def _lookups(desired: Desired, catalogue: Catalogue) -> Iterator[Statement]:
    """In the databases that are there, whoever made them, and in those that are made now."""
    if desired.lookup is None:
        return
    fresh = {database.name for database in desired.databases} - set(catalogue.databases)
    for name in sorted({*catalogue.contents, *fresh}):
        yield from lookup_statements(name, desired.lookup, catalogue.contents.get(name, EMPTY))

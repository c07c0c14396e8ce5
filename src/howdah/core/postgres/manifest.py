"""From the sections of a manifest to the roles and databases that it asks for, with every mistake told at once.

Sources and their ranks are the reference's: on a clash of names the higher rank wins, names of the system and
protected ones are left out with a warning. What is not of the manifest comes ready, in `Elsewhere`.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from enum import IntEnum

from howdah.core.postgres.identifiers import (
    database_name_fault,
    length_fault,
    prepared_name_fault,
    role_name_fault,
    schema_name_fault,
)
from howdah.core.postgres.prepared import (
    DatabaseSection,
    prepared_database,
    prepared_roles,
    schema_sections,
)
from howdah.model.errors import Problem
from howdah.model.postgres.desired import (
    FLAG_NAMES,
    Desired,
    DesiredDatabase,
    DesiredRole,
    Elsewhere,
    Flags,
    PasswordSource,
    RoleRules,
)


class Source(IntEnum):
    """Where a role comes from, by rank: the higher one wins."""

    MANIFEST = 1
    INFRASTRUCTURE = 2
    PEOPLE = 3
    SYSTEM = 4
    PREPARED = 5
    POOLER = 6
    STREAM = 7


def desired_state(
    users: Mapping[str, Sequence[str] | None],
    databases: Mapping[str, str],
    prepared: Mapping[str, DatabaseSection | None] | None,
    *,
    rules: RoleRules,
    elsewhere: Elsewhere = Elsewhere(),  # noqa: B008  # frozen
) -> Desired:
    """What `spec.users`, `spec.databases` and `spec.preparedDatabases` (None: not written) ask for, with `elsewhere`."""
    errors: list[Problem] = []
    warnings: list[Problem] = []
    sections = dict(_prepared_sections(prepared, rules, warnings))
    own = tuple(_manifest_roles(users, databases, rules, errors, warnings))
    made = tuple(_all_prepared_roles(sections, rules, errors))
    merged = _merged(
        (
            (Source.MANIFEST, own),
            (Source.INFRASTRUCTURE, _with_free_secrets(elsewhere.infrastructure, (*own, *made), rules, warnings)),
            (Source.PEOPLE, elsewhere.people),
            (Source.SYSTEM, system_roles(rules)),
            (Source.PREPARED, made),
            (Source.POOLER, _pooler_roles(rules)),
            (Source.STREAM, _stream_role(rules)),
        ),
        warnings,
    )
    roles = tuple(_with_owner_roles(role, rules) for role in merged)
    errors.extend(_shared_secrets(roles))
    wanted = {name: prepared_database(name, section, rules) for name, section in sections.items()}
    for plain in _plain_databases(databases, roles, rules, warnings):
        inside = wanted.get(plain.name)  # in both sections: the owner is the one that is written
        wanted[plain.name] = plain if inside is None else replace(inside, owner=plain.owner, keep_owner=False)
    return Desired(
        roles,
        tuple(wanted[name] for name in sorted(wanted)),
        elsewhere.departures,
        lookup=rules.lookup,
        errors=tuple(sorted(set(errors))),
        warnings=tuple(sorted(set(warnings))),
    )


def system_roles(rules: RoleRules) -> tuple[DesiredRole, ...]:
    """Superuser and replication role: Patroni makes them, their passwords follow their Secrets."""
    return (
        DesiredRole(rules.super_username, password=PasswordSource(rules.super_username, rules.namespace)),
        DesiredRole(
            rules.replication_username,
            Flags(login=True, replication=True),
            password=PasswordSource(rules.replication_username, rules.namespace),
        ),
    )


def _pooler_roles(rules: RoleRules) -> Iterator[DesiredRole]:
    """The role of the connection pooler: it logs in, and calls the lookup function."""
    if rules.lookup is not None:
        user = rules.lookup.user
        yield DesiredRole(user, Flags(login=True), password=PasswordSource(user, rules.namespace))


def _stream_role(rules: RoleRules) -> Iterator[DesiredRole]:
    """Who reads streams."""
    if rules.stream_user:
        flags = Flags(login=True, replication=True)
        yield DesiredRole(rules.stream_user, flags, password=PasswordSource(rules.stream_user, rules.namespace))


def _manifest_roles(
    users: Mapping[str, Sequence[str] | None],
    databases: Mapping[str, str],
    rules: RoleRules,
    errors: list[Problem],
    warnings: list[Problem],
) -> Iterator[DesiredRole]:
    owners = set(databases.values())
    for name, written in sorted(users.items()):
        path = f"spec.users.{name}"
        if (reason := rules.untouchable(name)) is not None:
            warnings.append(Problem(path, f'"{name}" is {reason}', "this entry is left out"))
            continue
        flags, faults = parsed_flags(written or ())
        name_fault = role_name_fault(name)
        errors.extend(Problem.of(path, ValueError(fault)) for fault in (*faults, name_fault) if fault)
        if faults or name_fault:
            continue
        admins = (rules.admin_role,) if rules.admin_role else ()
        # A role that cannot log in gets no password: the reference gives it one that nobody can use.
        source = PasswordSource(name, _namespace(name, rules)) if flags.login else None
        yield DesiredRole(name, flags, admins=admins, password=source, owns_databases=name in owners, rotates=True)


def parsed_flags(written: Sequence[str]) -> tuple[Flags, tuple[str, ...]]:
    """The flags of a manifest's user, LOGIN unless `nologin`, and what is wrong with them."""
    faults: list[str] = []
    values: dict[str, bool] = {}
    for flag in written:
        name = flag.lower()
        value = name in FLAG_NAMES
        name = name if value else name.removeprefix("no")
        if name not in FLAG_NAMES or flag not in (flag.lower(), flag.upper()):
            faults.append(f'"{flag}" is not a flag; known: {", ".join(FLAG_NAMES)}, each also with "no" before')
        elif values.setdefault(name, value) != value:
            faults.append(f'"{name}" and "no{name}" contradict each other; write one of them')
    return Flags(**({"login": True} | values)), tuple(dict.fromkeys(faults))


def _namespace(user: str, rules: RoleRules) -> str:
    """`ns.user` has its Secret in namespace `ns`, where the operator's configuration allows it."""
    namespace, dot, _ = user.partition(".")
    return namespace if dot and rules.cross_namespace_secrets else rules.namespace


def _prepared_sections(
    prepared: Mapping[str, DatabaseSection | None] | None, rules: RoleRules, warnings: list[Problem]
) -> Iterator[tuple[str, DatabaseSection]]:
    """The sections with usable names; a section without any database means one, named like the cluster."""
    if prepared is None:
        return
    for name, section in sorted((prepared or {rules.cluster.replace("-", "_"): None}).items()):
        path = f"spec.preparedDatabases.{name}"
        if (fault := prepared_name_fault(name)) is not None:
            warnings.append(_left_out(path, fault))
            continue
        known = DatabaseSection(**section) if section else DatabaseSection()
        schemas = schema_sections(known)
        faults = {schema: fault for schema in schemas if (fault := schema_name_fault(schema)) is not None}
        warnings.extend(_left_out(f"{path}.schemas.{schema}", fault) for schema, fault in faults.items())
        usable = {schema: options for schema, options in schemas.items() if schema not in faults}
        if not usable:
            continue
        known["schemas"] = usable
        yield name, known


def _left_out(path: str, fault: str) -> Problem:
    problem = Problem.of(path, ValueError(fault))
    return replace(problem, hint=f"{problem.hint}; this entry is left out")


def _all_prepared_roles(
    sections: Mapping[str, DatabaseSection], rules: RoleRules, errors: list[Problem]
) -> Iterator[DesiredRole]:
    maker: dict[str, str] = {}
    for database, section in sections.items():
        path = f"spec.preparedDatabases.{database}"
        for role in prepared_roles(database, section, rules):
            if (fault := _prepared_role_fault(role.name, maker.get(role.name), rules)) is not None:
                errors.append(Problem.of(path, ValueError(fault)))
                continue
            maker[role.name] = database
            yield role


def _prepared_role_fault(name: str, made_by: str | None, rules: RoleRules) -> str | None:
    if (reason := rules.untouchable(name)) is not None:
        return f'its role "{name}" is {reason}; rename the database or the schema'
    if made_by is not None:
        return f'its role "{name}" is also one of "{made_by}"; rename a database or a schema'
    return length_fault(name)


def _merged(
    sources: Iterable[tuple[Source, Iterable[DesiredRole]]], warnings: list[Problem]
) -> tuple[DesiredRole, ...]:
    """One role a name, system first, then in the order of their sources."""
    best: dict[str, tuple[Source, DesiredRole]] = {}
    for source, roles in sources:
        for role in roles:
            held = best.get(role.name)
            if held is not None and held[0] is Source.MANIFEST:
                message = f'"{role.name}" is {_WINNERS[source]}'
                warnings.append(Problem(f"spec.users.{role.name}", message, "this entry is left out"))
            if held is None or source >= held[0]:
                best[role.name] = (source, role)
    rows = sorted(best.values(), key=lambda row: row[0] is not Source.SYSTEM)
    return tuple(role for _, role in rows)


_WINNERS = {
    Source.INFRASTRUCTURE: "an infrastructure role",
    Source.PEOPLE: "a member of a team",
    Source.SYSTEM: "a role of the system",
    Source.PREPARED: "a role of a prepared database",
    Source.POOLER: "a role of the connection pooler",
    Source.STREAM: "a role of the system",
}


def _with_owner_roles(role: DesiredRole, rules: RoleRules) -> DesiredRole:
    """A database owner is a member of each additional owner role, which then cannot be its admin as well."""
    extra = tuple(name for name in rules.additional_owner_roles if name != role.name)
    if not role.owns_databases or not extra:
        return role
    return replace(
        role,
        member_of=tuple(dict.fromkeys((*role.member_of, *extra))),
        admins=tuple(name for name in role.admins if name not in extra),
    )


def _with_free_secrets(
    infrastructure: Sequence[DesiredRole], own: Sequence[DesiredRole], rules: RoleRules, warnings: list[Problem]
) -> Iterator[DesiredRole]:
    """A shared role that would need the Secret of another one is left out: it must not make a good manifest bad."""
    roles = (*system_roles(rules), *own)
    taken = {_secret_of(role.password): role.name for role in roles if role.password is not None}
    for role in infrastructure:
        holder = role.name if role.password is None else taken.setdefault(_secret_of(role.password), role.name)
        if holder == role.name:
            yield role
        else:
            message = f'infrastructure role "{role.name}" and "{holder}" would share one Secret'
            warnings.append(Problem("spec.users", message, "the infrastructure role is left out; rename one of them"))


def _secret_of(source: PasswordSource) -> tuple[str, str]:
    return source.user.replace("_", "-"), source.namespace


def _shared_secrets(roles: Sequence[DesiredRole]) -> Iterator[Problem]:
    """Names that differ only in `-` and `_` would share one Secret, and so a password."""
    users: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for role in roles:
        if role.password is not None:
            users[_secret_of(role.password)].append(role.name)
    for names in users.values():
        if len(names) > 1:
            listed = " and ".join(f'"{name}"' for name in sorted(names))
            yield Problem("spec.users", f"{listed} would share one Secret", "rename one of them")


def _plain_databases(
    databases: Mapping[str, str], roles: Sequence[DesiredRole], rules: RoleRules, warnings: list[Problem]
) -> Iterator[DesiredDatabase]:
    system = {role.name for role in system_roles(rules)}
    owners = {role.name for role in roles} - system
    for name, owner in sorted(databases.items()):
        path = f"spec.databases.{name}"
        if (fault := database_name_fault(name)) is not None:
            warnings.append(_left_out(path, fault))
        elif owner not in owners:
            message = f'its owner "{owner}" is no role of this manifest'
            warnings.append(Problem(path, message, f'add "{owner}" to spec.users; this entry is left out'))
        else:
            yield DesiredDatabase(name, owner)

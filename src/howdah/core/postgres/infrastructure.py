"""Infrastructure roles: the same on every cluster, from Secrets and ConfigMaps that the operator's configuration names.

A Secret is seen without its passwords (`RoleSecret`): which keys it has, and those values that are names. Three forms:
numbered keys (`user1`, `password1`, `inrole1`), the keys that an entry of `infrastructure_roles_secrets` names, and a
ConfigMap of the Secret's name, whose keys are roles and whose values are their options.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from howdah.core.postgres.identifiers import parameter_name_fault, role_name_fault
from howdah.core.postgres.manifest import parsed_flags
from howdah.model.errors import Problem
from howdah.model.postgres.desired import DesiredRole, Flags, PasswordOrigin, PasswordSource, RoleRules
from howdah.model.settings import InfrastructureRoleSecret, NamespacedName, Settings

PATH = "configuration.kubernetes"
_QUOTED = re.compile("'((?:[^']|'')*)'", re.DOTALL)
_OPTIONS = frozenset({"inrole", "user_flags", "db_parameters", "admin_role"})


@dataclass(frozen=True, slots=True)
class RoleSecret:
    """A Secret of infrastructure roles, as far as it is no secret."""

    keys: frozenset[str]
    names: Mapping[str, str]
    """The values of `name_keys`: of users, and of the roles that they are in."""


@dataclass(frozen=True, slots=True)
class _Described:
    """One role as it is written somewhere."""

    name: str
    password_key: str
    member_of: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    parameters: Mapping[str, str] | None = None
    admins: tuple[str, ...] = ()


def entries(settings: Settings) -> tuple[InfrastructureRoleSecret, ...]:
    """Where infrastructure roles are written: the list, then the older form as a numbered entry."""
    old = settings.infrastructure_roles_secret_name
    numbered = () if old is None else (InfrastructureRoleSecret(old, "user", "password", "inrole", is_template=True),)
    return (*settings.infrastructure_roles_secrets, *numbered)


def name_keys(found: Iterable[InfrastructureRoleSecret], keys: Iterable[str]) -> frozenset[str]:
    """Of the keys of one Secret, those whose values are names; what any of its entries calls a password is none."""
    rules = [(entry, _numbered if entry.is_template else _same) for entry in found]
    return frozenset(
        key
        for key in keys
        if any(is_of(key, entry.user_key) or is_of(key, entry.role_key) for entry, is_of in rules)
        and not any(is_of(key, entry.password_key) for entry, is_of in rules)
    )


def _numbered(key: str, prefix: str) -> bool:
    return bool(prefix) and re.fullmatch(rf"{re.escape(prefix)}\d+", key) is not None


def _same(key: str, name: str) -> bool:
    return key == name


def infrastructure_roles(
    settings: Settings,
    secrets: Mapping[NamespacedName, RoleSecret],
    options: Mapping[NamespacedName, Mapping[str, str]],
    rules: RoleRules,
) -> tuple[tuple[DesiredRole, ...], tuple[Problem, ...]]:
    """The roles, and what is left out, and why: one bad entry must not keep every cluster of the operator from working.

    A role that is written twice is as the last entry has it.
    """
    roles: dict[str, DesiredRole] = {}
    warnings: list[Problem] = []
    for entry in entries(settings):
        place = f"{PATH}.Secret {entry.secret}"
        seen = secrets.get(entry.secret)
        if seen is None:
            warnings.append(
                Problem(place, "cannot be read", "create it, or let the operator watch it; its roles stay as they are")
            )
            continue
        described = (*_of_secret(entry, seen), *_of_options(entry, options.get(entry.secret) or {}, warnings))
        for one in described:
            if (why := _fault(one, seen, rules)) is not None:
                warnings.append(Problem(place, why, "this role is left out"))
            else:
                roles[one.name] = _role(one, entry, rules)
    return tuple(roles.values()), tuple(warnings)


def _of_secret(entry: InfrastructureRoleSecret, seen: RoleSecret) -> Iterator[_Described]:
    if entry.is_template:
        number = 1
        while (name := seen.names.get(f"{entry.user_key}{number}")) is not None:
            inside = seen.names.get(f"{entry.role_key}{number}") or entry.default_role_value
            yield _Described(name, f"{entry.password_key}{number}", (inside,) if inside else ())
            number += 1
        return
    name = seen.names.get(entry.user_key) or entry.default_user_value
    inside = seen.names.get(entry.role_key) or entry.default_role_value
    if name:
        yield _Described(name, entry.password_key, (inside,) if inside else ())


def _of_options(
    entry: InfrastructureRoleSecret, options: Mapping[str, str], warnings: list[Problem]
) -> Iterator[_Described]:
    """The roles of the ConfigMap; each one's password is in the Secret under the role's own name."""
    for name, text in sorted(options.items()):
        try:
            yield _described(name, text)
        except (yaml.YAMLError, ValueError, KeyError, RecursionError) as error:  # of tags, of nesting
            said = str(error) if isinstance(error, ValueError) else "is not YAML"
            place = f"{PATH}.ConfigMap {entry.secret}.{name}"
            warnings.append(Problem(place, said, "this role is left out"))


def _described(name: str, text: str) -> _Described:
    written = yaml.safe_load(text) or {}
    if not isinstance(written, dict):
        raise ValueError("is not a map with inrole, user_flags, db_parameters, admin_role")
    known: dict[str, Any] = {key: value for key, value in written.items() if key in _OPTIONS and value is not None}
    parameters = known.get("db_parameters") or {}
    if not isinstance(parameters, dict):
        raise ValueError("db_parameters is not a map")
    admin = known.get("admin_role") or ""
    return _Described(
        name,
        password_key=name,
        member_of=_texts(known, "inrole"),
        flags=_texts(known, "user_flags"),
        parameters={str(key): _setting(value) for key, value in parameters.items()},
        admins=(str(admin),) if admin else (),
    )


def _texts(written: Mapping[str, Any], key: str) -> tuple[str, ...]:
    found = written.get(key) or []
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise ValueError(f"{key} is not a list of words")
    return tuple(found)


def _setting(value: object) -> str:
    """As postgresql.conf has it: YAML reads `on` as true."""
    return unquoted(("on" if value else "off") if isinstance(value, bool) else str(value))


def unquoted(value: str) -> str:
    """A parameter's value without the single quotes that the reference lets people write around it."""
    quoted = _QUOTED.fullmatch(value)
    return value if quoted is None else quoted[1].replace("''", "'")


_CHECKS: tuple[Callable[[_Described, RoleSecret, RoleRules], str | None], ...] = (
    lambda one, seen, rules: role_name_fault(one.name),
    lambda one, seen, rules: f'"{one.name}" is {why}' if (why := rules.untouchable(one.name)) else None,
    lambda one, seen, rules: None if one.password_key in seen.keys else f'"{one.name}" has no password',
    lambda one, seen, rules: next((f'"{one.name}": {fault}' for fault in parsed_flags(one.flags)[1]), None),
    lambda one, seen, rules: next(filter(None, map(parameter_name_fault, one.parameters or {})), None),
)


def _fault(one: _Described, seen: RoleSecret, rules: RoleRules) -> str | None:
    return next((why for check in _CHECKS if (why := check(one, seen, rules)) is not None), None)


def _role(one: _Described, entry: InfrastructureRoleSecret, rules: RoleRules) -> DesiredRole:
    flags: Flags = parsed_flags(one.flags)[0]
    origin = PasswordOrigin(entry.secret.namespace, entry.secret.name, one.password_key)
    return DesiredRole(
        one.name,
        flags,
        member_of=one.member_of,
        admins=one.admins,
        parameters=one.parameters or {},
        password=PasswordSource(one.name, rules.namespace) if flags.login else None,
        password_origin=origin if flags.login else None,
    )

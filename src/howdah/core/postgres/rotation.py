"""Password rotation: whose password is due, what the Secret gets next, and which logins there shall be because of it.

The Secret leads, the server follows: docs/adr/0015-password-rotation.md. A change of the login is prepared in the Secret
under keys of its own, made in the server, and only then becomes the login; a new password for the same login is written at
once, and the role is altered because its verifier does not match any more. Every state is in the Secret and the catalogue.
"""

import datetime as dt
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from howdah.core.postgres.identifiers import MAX_NAME_BYTES, parameter_name_fault
from howdah.core.postgres.options import MADE_BY_US
from howdah.model.errors import Problem
from howdah.model.postgres.catalogue import Catalogue, Interest
from howdah.model.postgres.desired import Desired, DesiredRole, PasswordSource, Removal
from howdah.model.postgres.rotation import HeldSecret, Mode, Rotation, RotationRules, held_by_role
from howdah.model.postgres.statements import Statement

DATE = "%y%m%d"
DATE_LENGTH = 6
SLACK = dt.timedelta(hours=1)
"""Clocks of two operators may differ by less; more is a shortened interval."""


def mode_of(role: DesiredRole, rules: RotationRules) -> Mode:
    """How the password of `role` is rotated. The reference's rules, but for roles that are known by name elsewhere."""
    if role.password is None or role.name in rules.ignored:
        return Mode.OFF
    if role.name in rules.in_place:
        return Mode.IN_PLACE
    is_asked = role.name in rules.new_user or (rules.is_default and role.rotates and not role.owns_databases)
    return Mode.NEW_USER if is_asked and not _why_fixed(role.name, rules) else Mode.OFF


def doubts(desired: Desired, rules: RotationRules) -> Iterator[Problem]:
    """Entries of the lists that have no effect."""
    known = {role.name for role in desired.roles if role.password is not None}
    lists = (
        ("usersWithSecretRotation", rules.new_user),
        ("usersWithInPlaceSecretRotation", rules.in_place),
        ("usersIgnoringSecretRotation", rules.ignored),
    )
    for field, names in lists:
        for name in sorted(names - known):
            yield Problem(f"spec.{field}", f'"{name}" is no role with a password', "remove it")
    for name in sorted(rules.new_user - rules.in_place):
        if (why := _why_fixed(name, rules)) is not None:
            yield Problem(
                "spec.usersWithSecretRotation", f'"{name}" {why}', "list it in usersWithInPlaceSecretRotation"
            )


def _why_fixed(name: str, rules: RotationRules) -> str | None:
    if name in rules.fixed:
        return "is known to others by its name and gets no new login"
    if len(name.encode()) + DATE_LENGTH > MAX_NAME_BYTES:
        return "is too long to get a date behind its name"
    return None


def login_of(held: HeldSecret) -> str:
    """The login whose password the Secret holds: the role itself, or a rotated one of it."""
    return held.username if is_dated(held.username, held.role) else held.role


def is_dated(name: str, role: str) -> bool:
    """Whether `name` is `role` with a date behind it."""
    return name.startswith(role) and date_of(name[len(role) :]) is not None


def date_of(digits: str) -> dt.date | None:
    """`260131` → 31 January 2026."""
    if re.fullmatch(rf"[0-9]{{{DATE_LENGTH}}}", digits) is None:
        return None
    try:
        return dt.datetime.strptime(digits, DATE).replace(tzinfo=dt.UTC).date()
    except ValueError:
        return None


# --- logins that there shall be -----------------------------------------------------------------------------------


def with_logins(desired: Desired, held: tuple[HeldSecret, ...]) -> Desired:
    """The desired state with the rotated logins that Secrets name; the role behind one keeps the password it has."""
    by_role = held_by_role(held)
    roles = (one for role in desired.roles for one in _logins(role, by_role.get(role.name)))
    return replace(desired, roles=tuple(roles))


def _logins(role: DesiredRole, held: HeldSecret | None) -> Iterator[DesiredRole]:
    if role.password is None or held is None:
        yield role
        return
    login, following = login_of(held), held.next_username
    names_itself = role.name in (login, following)
    yield role if names_itself else replace(role, password=None)
    for name in dict.fromkeys((login, following)):
        if is_dated(name, role.name):
            yield _rotated(role, role.password, name, is_ours=name == login)


def _rotated(role: DesiredRole, source: PasswordSource, name: str, *, is_ours: bool) -> DesiredRole:
    """A login that can do what `role` can: attributes are not inherited, so it gets them too."""
    return replace(
        role,
        name=name,
        member_of=(role.name,),
        password=replace(source, login=name),
        owns_databases=False,
        note=note_of(role.name),
        claims_note=is_ours,
    )


def note_of(role: str) -> str:
    """The comment of a rotated login of `role`."""
    return f"{MADE_BY_US}: rotated user of {role}"


def interest_in_logins(interest: Interest, desired: Desired) -> Interest:
    """Also what the dated logins of roles with a password are, and what ties the roles that shall go."""
    dated = frozenset(role.password.user for role in desired.roles if role.password is not None)
    dated |= {removal.role for removal in desired.removals}
    leaving = frozenset(removal.role for removal in desired.removals)
    heirs = frozenset(removal.reassign_to for removal in desired.removals if removal.reassign_to)
    return replace(interest, roles=interest.roles | heirs, dated=dated, leaving=leaving)


def as_in_server(desired: Desired, catalogue: Catalogue) -> Desired:
    """Rotated logins take over the parameters of their role as they are; one that a stranger made is left alone."""
    return replace(desired, roles=tuple(_seen(desired, catalogue)))


def _seen(desired: Desired, catalogue: Catalogue) -> Iterator[DesiredRole]:
    for role in desired.roles:
        if role.password is None or not role.password.login:
            yield role
            continue
        there, behind = catalogue.roles.get(role.name), catalogue.roles.get(role.password.user)
        if there is not None and not role.claims_note and there.comment != role.note:
            continue
        if behind is None:
            yield role
            continue
        databases = {
            name: _inherited(behind.database_settings.get(name, {}), role.database_parameters.get(name, {}))
            for name in {*behind.database_settings, *role.database_parameters}
        }
        yield replace(role, parameters=_inherited(behind.settings, role.parameters), database_parameters=databases)


Value = TypeVar("Value")


def _inherited(settings: Mapping[str, str], own: Mapping[str, Value]) -> dict[str, str | Value]:
    """The server's parameters, but for those that are asked for, whatever the case, and names that nobody could set now."""
    said = {name.lower() for name in own}
    taken = {name: text for name, text in settings.items() if name.lower() not in said}
    return {**{name: text for name, text in taken.items() if parameter_name_fault(name) is None}, **own}


# --- logins that shall go -----------------------------------------------------------------------------------------


def removals(
    desired: Desired,
    catalogue: Catalogue,
    rules: RotationRules,
    now: dt.datetime,
    *,
    unread: frozenset[str] = frozenset(),
) -> tuple[Removal, ...]:
    """Who shall go: rotated logins past their retention that no Secret names, and whom the manifest says to drop.

    With a user its rotated logins go, whatever their age. `unread`: roles of which no Secret was read; which of their
    logins is in use is not known.
    """
    wanted = {role.name: role for role in desired.roles}
    asked = {removal.role: removal for removal in desired.removals}
    kept_since = (now - dt.timedelta(days=rules.retention_days)).date()
    gone = []
    for base, names in sorted(_dated_names(catalogue.roles).items()):
        if base in unread:
            continue
        removal = asked.get(base)
        for name in sorted(set(names) - wanted.keys()):
            live = catalogue.roles[name]
            # Without our comment it is only spoken of where it looks like what we are asked to make.
            is_known = live.comment == note_of(base) or base in rules.new_user or rules.is_default
            is_old = base in wanted and (date_of(name[-DATE_LENGTH:]) or kept_since) < kept_since and is_known
            if (is_old or removal is not None) and base in live.member_of:
                gone.append(Removal(name, note_of(base), removal.reassign_to if removal is not None else None))
    return (*gone, *desired.removals)


def _dated_names(names: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
    """Of these, the names with a date behind, by what is before it."""
    found: dict[str, tuple[str, ...]] = {}
    for name in names:
        if date_of(name[-DATE_LENGTH:]) is not None:
            base = name[:-DATE_LENGTH]
            found[base] = (*found.get(base, ()), name)
    return found


# --- what the Secret gets next ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SecretChange:
    """What one write changes in a Secret. Texts are set (None: removed); passwords are made or moved by who writes it."""

    texts: Mapping[str, str | None]
    fresh: Literal["", "password", "nextPassword"] = ""
    """The key that gets a new password."""
    takes_next: bool = False
    """`nextPassword` becomes `password`."""
    forgets_next: bool = False
    """`nextPassword` is removed."""


@dataclass(frozen=True, slots=True)
class Due:
    """A change of one Secret that is due, with its reason; `why_not`: what holds it."""

    held: HeldSecret
    change: SecretChange
    reason: str
    why_not: str | None = None


def rotations(
    desired: Desired,
    held: tuple[HeldSecret, ...],
    catalogue: Catalogue,
    missing: Iterable[Statement],
    rules: RotationRules,
) -> tuple[Rotation, ...]:
    """Of every role with a Secret, how far it is. `missing`: the statements that the server lacks."""
    unfinished = {statement.subject for statement in missing}
    by_role = held_by_role(held)
    asked = _dated_names(role.name for role in desired.roles)
    there = _dated_names(name for name, live in catalogue.roles.items() if live.comment != note_of(name[:-DATE_LENGTH]))
    return tuple(
        Rotation(
            secret,
            mode_of(role, rules),
            secret.next_username in catalogue.roles and secret.next_username not in unfinished,
            frozenset({*asked.get(role.name, ()), *there.get(role.name, ())} - {login_of(secret)}),
        )
        for role in desired.roles
        if (secret := by_role.get(role.name)) is not None
    )


def due(rotation: Rotation, rules: RotationRules, now: dt.datetime) -> Due | None:
    """The next change of the Secret; None while nothing is due, or while the server lacks a login that is prepared."""
    held, role = rotation.held, rotation.held.role
    if held.next_username:
        return _under_way(rotation, rules, now)
    if rotation.mode is Mode.OFF:
        return _prepared(rotation, role, f"the password of {role} is not rotated any more") if _is_away(held) else None
    if rotation.mode is Mode.IN_PLACE and _is_away(held):
        return _prepared(rotation, role, f"the password of {role} is rotated in place from now on")
    at, latest = next_rotation(held), now + dt.timedelta(days=rules.interval_days)
    if at is None or at > latest + SLACK:
        since = "has no next rotation yet" if at is None else "is to be rotated earlier than its Secret says"
        return Due(held, SecretChange({"nextRotation": written(latest)}), f"the password of {role} {since}")
    return _rotated_now(rotation, rules, now) if now > at else None


def _is_away(held: HeldSecret) -> bool:
    return login_of(held) != held.role


def _rotated_now(rotation: Rotation, rules: RotationRules, now: dt.datetime) -> Due:
    held, role = rotation.held, rotation.held.role
    wanted = role if rotation.mode is Mode.IN_PLACE else f"{role}{now.strftime(DATE)}"
    reason = f"the password of {role} is due for rotation since {held.next_rotation}"
    if wanted == login_of(held):
        latest = now + dt.timedelta(days=rules.interval_days)
        return Due(held, SecretChange({"nextRotation": written(latest)}, fresh="password"), reason)
    return _prepared(rotation, wanted, reason)


def _prepared(rotation: Rotation, login: str, reason: str) -> Due:
    why_not = f'there is a role "{login}" that we have not made' if login in rotation.strangers else None
    change = SecretChange({"nextUsername": login}, fresh="nextPassword")
    return Due(rotation.held, change, f"{reason}; {login} is prepared", why_not)


def _under_way(rotation: Rotation, rules: RotationRules, now: dt.datetime) -> Due | None:
    held, login = rotation.held, rotation.held.next_username
    is_wanted = is_dated(login, held.role) if rotation.mode is Mode.NEW_USER else login == held.role != login_of(held)
    if not is_wanted or login in rotation.strangers:
        change = SecretChange({"nextUsername": None}, forgets_next=True)
        return Due(held, change, f"{login} is not to be the login of {held.role} any more")
    if not rotation.is_next_ready:
        return None
    at = None if rotation.mode is Mode.OFF else written(now + dt.timedelta(days=rules.interval_days))
    change = SecretChange({"username": login, "nextUsername": None, "nextRotation": at}, takes_next=True)
    return Due(held, change, f"{login} is ready and becomes the login of {held.role}")


def next_rotation(held: HeldSecret) -> dt.datetime | None:
    """When the password is due; None where the Secret does not say a time with its offset."""
    try:
        found = dt.datetime.fromisoformat(held.next_rotation)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def written(at: dt.datetime) -> str:
    """RFC 3339 in UTC."""
    return at.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def left(rotation: Rotation, now: dt.datetime) -> dt.timedelta | None:
    """How long until the password is due; None where it is not rotated, or no time is known."""
    at = None if rotation.mode is Mode.OFF else next_rotation(rotation.held)
    return None if at is None else at - now

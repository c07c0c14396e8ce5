"""Password rotation as nouns: whose password is rotated and how, what a role's Secret says of it, what is known of both.

Passwords never appear here. When something is due is decided in `core.postgres.rotation`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Mode(StrEnum):
    """How the password of a role is rotated."""

    OFF = "off"
    NEW_USER = "new user"
    """A new login named after the date; the role itself stays, and the logins before it for some time."""
    IN_PLACE = "in place"
    """The same login, with a new password."""


@dataclass(frozen=True, slots=True)
class RotationRules:
    """What the manifest and the operator's configuration say."""

    interval_days: int = 90
    retention_days: int = 180
    """How old a rotated login may become; at least two intervals."""
    is_default: bool = False
    """Whether logins of the manifest are rotated without being listed."""
    new_user: frozenset[str] = frozenset()
    in_place: frozenset[str] = frozenset()
    ignored: frozenset[str] = frozenset()
    fixed: frozenset[str] = frozenset()
    """Roles that others know by name (of the system, the pooler's, the streams'): they never get a new login."""


@dataclass(frozen=True, slots=True)
class HeldSecret:
    """What the Secret of `role` says beside passwords, at one version of it. Empty: it does not say."""

    role: str
    namespace: str
    name: str
    uid: str
    resource_version: str
    username: str
    next_username: str = ""
    """The login of a change that is under way: it is made, and then becomes `username`."""
    next_rotation: str = ""


@dataclass(frozen=True, slots=True)
class Rotation:
    """One role with a password, and how far it is."""

    held: HeldSecret
    mode: Mode
    is_next_ready: bool = False
    """The server takes `next_username` with its password, and that login can do what the role can."""
    strangers: frozenset[str] = frozenset()
    """Roles with a dated name of this role that are not known to be made by us."""


def held_by_role(held: tuple[HeldSecret, ...]) -> Mapping[str, HeldSecret]:
    """By the name of the role."""
    return {secret.role: secret for secret in held}

"""What roles and databases shall be there: frozen types only.

Passwords never appear here: a `PasswordSource` says whose Secret holds one. How a manifest becomes these types is
in `manifest` and `prepared`; how they become statements is in `difference`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from howdah.model.errors import Problem


@dataclass(frozen=True, slots=True)
class Flags:
    """The attributes of a role; None means: not spoken of, so left as it is (and PostgreSQL's default when new)."""

    superuser: bool | None = None
    createdb: bool | None = None
    createrole: bool | None = None
    inherit: bool | None = None
    login: bool | None = None
    replication: bool | None = None
    bypassrls: bool | None = None

    def spoken(self) -> tuple[tuple[str, bool], ...]:
        """Name and value of each attribute that is not None, in the order of the fields."""
        pairs = ((name, getattr(self, name)) for name in FLAG_NAMES)
        return tuple((name, value) for name, value in pairs if value is not None)


FLAG_NAMES = ("superuser", "createdb", "createrole", "inherit", "login", "replication", "bypassrls")


@dataclass(frozen=True, slots=True, order=True)
class PasswordSource:
    """Where a role's password is: the Secret of `user` in `namespace`. `model.names` knows the Secret's name.

    `login`: the rotated login whose password it is; empty means `user` itself. A Secret holds one login's password, or two
    while it is being rotated.
    """

    user: str
    namespace: str
    login: str = ""


@dataclass(frozen=True, slots=True, order=True)
class PasswordOrigin:
    """The entry of a Secret that a role's own Secret repeats; an empty namespace is the operator's own."""

    namespace: str
    secret: str
    key: str

    def __str__(self) -> str:
        """`entry password1 of Secret infra`."""
        place = f" in namespace {self.namespace}" if self.namespace else ""
        return f"entry {self.key} of Secret {self.secret}{place}"


@dataclass(frozen=True, slots=True)
class DesiredRole:
    """One role. What is not named here is not touched."""

    name: str
    flags: Flags = Flags()
    member_of: tuple[str, ...] = ()
    admins: tuple[str, ...] = ()
    """Roles that get membership in this one, with the admin option."""
    parameters: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    """ALTER ROLE … SET; a tuple is a list such as search_path, its items without quotes, in any order.

    Any order: the reference writes the schemas of a prepared database at random, and changing what is there would
    change which table a name means.
    """
    password: PasswordSource | None = None
    owns_databases: bool = False
    """Counts as a database owner: for `additional_owner_roles`, and for password rotation."""
    password_origin: PasswordOrigin | None = None
    """Of an infrastructure role: where the Secret that `password` names has it from."""
    is_person: bool = False
    """A member of a team: logs in by PAM, so that no password is known or touched."""
    rotates: bool = False
    """Counts for `enable_password_rotation`, unless it owns databases."""
    keeps_login: bool = False
    """Whether it logs in is decided when it is made; of one that exists it is left as it is."""
    connection_limit: int | None = None
    valid_until: str | None = None
    """As `core.postgres.options.instant` writes it; None is not spoken of."""
    database_parameters: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """ALTER ROLE … IN DATABASE … SET, by database."""
    note: str = ""
    """The comment that it gets when we make it: by this we know it as ours."""
    claims_note: bool = False
    """It is ours although it has no comment yet (our Secret names it), so it gets the note also when it exists."""


@dataclass(frozen=True, slots=True)
class DesiredSchema:
    """One schema. The owner is set when it is made; `usage` is granted to these roles."""

    name: str
    owner: str
    usage: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DesiredExtension:
    """One extension in its schema; PostgreSQL chooses the version."""

    name: str
    schema: str


@dataclass(frozen=True, slots=True)
class DefaultPrivilege:
    """What `grantee` may do with objects that `creator` makes later, in one schema or (None) everywhere."""

    creator: str
    schema: str | None
    objects: str
    """TABLES, SEQUENCES, FUNCTIONS, TYPES or SCHEMAS."""
    grantee: str
    privileges: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UserOptions:
    """One entry of `spec.userOptions`; None and empty are not spoken of."""

    member_of: tuple[str, ...] = ()
    connection_limit: int | None = None
    valid_until: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    database_parameters: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    removal: Literal["retain", "drop", "reassign"] = "retain"
    reassign_to: str | None = None


@dataclass(frozen=True, slots=True)
class DatabaseOptions:
    """How a database is made, and how many may use it; None is not spoken of."""

    encoding: str | None = None
    locale: str | None = None
    template: str | None = None
    connection_limit: int | None = None


@dataclass(frozen=True, slots=True)
class DesiredDatabase:
    """One database and what shall be in it."""

    name: str
    owner: str
    keep_owner: bool = False
    """An existing database keeps its owner: the manifest does not name one."""
    schemas: tuple[DesiredSchema, ...] = ()
    extensions: tuple[DesiredExtension, ...] = ()
    default_privileges: tuple[DefaultPrivilege, ...] = ()
    options: DatabaseOptions = DatabaseOptions()

    @property
    def has_contents(self) -> bool:
        """Whether a connection to this database is needed to compare it."""
        return bool(self.schemas or self.extensions or self.default_privileges)


@dataclass(frozen=True, slots=True)
class Departures:
    """What becomes of the roles of people who left their team: no login, and `suffix` at the end of their name.

    `is_complete`: everybody who is still a member is known, so that who is not among the roles has left.
    """

    suffix: str
    is_complete: bool


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The roles that a cluster has beside those of its manifest."""

    infrastructure: tuple[DesiredRole, ...] = ()
    people: tuple[DesiredRole, ...] = ()
    departures: Departures | None = None


@dataclass(frozen=True, slots=True)
class Removal:
    """A role that shall be dropped, once nobody uses it. `reassign_to`: who gets what it owns; None: it must own nothing."""

    role: str
    note: str
    """The comment by which it is known to be ours; without it the role stays."""
    reassign_to: str | None = None


@dataclass(frozen=True, slots=True)
class PasswordLookup:
    """How a connection pooler learns a role's verifier: function `schema`.user_lookup, which only `user` may call."""

    schema: str
    user: str
    owner: str
    """The superuser, with whose rights the function reads."""


@dataclass(frozen=True, slots=True)
class DesiredPublication:
    """A publication of the rows inserted into or updated in `tables` ((schema, table)); without any it shall not be there."""

    name: str
    database: str
    tables: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Desired:
    """Everything that shall be there, in the order in which it is made, and what the manifest asks to go."""

    roles: tuple[DesiredRole, ...] = ()
    databases: tuple[DesiredDatabase, ...] = ()
    departures: Departures | None = None
    """None: the roles of people who left stay as they are."""
    removals: tuple[Removal, ...] = ()
    lookup: PasswordLookup | None = None
    """In every database of the server that takes connections; None where there is no pooler."""
    publications: tuple[DesiredPublication, ...] = ()
    errors: tuple[Problem, ...] = ()
    """Mistakes that make the manifest invalid."""
    warnings: tuple[Problem, ...] = ()
    """What was left out, as the reference leaves it out, and why."""


@dataclass(frozen=True, slots=True)
class RoleRules:
    """What the operator's configuration and the cluster's name say about roles."""

    cluster: str
    namespace: str
    super_username: str = "postgres"
    replication_username: str = "standby"
    admin_role: str = ""
    """`team_admin_role` if `enable_admin_role_for_users`, else empty: the admin of manifest roles."""
    protected: tuple[str, ...] = ("admin", "cron_admin")
    additional_owner_roles: tuple[str, ...] = ()
    cross_namespace_secrets: bool = False
    lookup: PasswordLookup | None = None
    """What the connection pooler needs, its role among it."""
    stream_user: str = ""
    """The role that reads streams; empty without streams."""

    def untouchable(self, name: str) -> str | None:
        """Why a role may not be asked for by anybody but the system, or None."""
        if name in (self.super_username, self.replication_username) or (self.stream_user and name == self.stream_user):
            return "a role of the system"
        if name in self.protected:
            return "a protected role"
        return None

"""What roles and databases shall be there: frozen types only.

Passwords never appear here: a `PasswordSource` says whose Secret holds one. How a manifest becomes these types is
in `manifest` and `prepared`; how they become statements is in `difference`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

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
    """Where a role's password is: the Secret of `user` in `namespace`. `model.names` knows the Secret's name."""

    user: str
    namespace: str


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
class DesiredDatabase:
    """One database and what shall be in it."""

    name: str
    owner: str
    keep_owner: bool = False
    """An existing database keeps its owner: the manifest does not name one."""
    schemas: tuple[DesiredSchema, ...] = ()
    extensions: tuple[DesiredExtension, ...] = ()
    default_privileges: tuple[DefaultPrivilege, ...] = ()

    @property
    def has_contents(self) -> bool:
        """Whether a connection to this database is needed to compare it."""
        return bool(self.schemas or self.extensions or self.default_privileges)


@dataclass(frozen=True, slots=True)
class DesiredPublication:
    """A publication of the rows inserted into or updated in `tables` ((schema, table)); without any it shall not be there."""

    name: str
    database: str
    tables: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Desired:
    """Everything that shall be there, in the order in which it is made."""

    roles: tuple[DesiredRole, ...] = ()
    databases: tuple[DesiredDatabase, ...] = ()
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
    stream_user: str = ""
    """The role that reads streams; empty without streams."""

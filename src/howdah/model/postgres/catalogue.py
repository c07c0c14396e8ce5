"""What the server's catalogue holds, as far as it was asked: frozen types only, no reading."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from howdah.model.postgres.desired import Flags


class Verifier:
    """A stored password verifier: kept, compared, never shown."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        """`text` as pg_authid.rolpassword has it."""
        self._text = text

    def reveal(self) -> str:
        """The verifier itself; only for checking a password against it."""
        return self._text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Verifier) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "Verifier(…)"


TEAM_MEMBER = "[howdah: team member]"
"""In the comment of a role: it was a person's who was a member of a team. Only such a role may be taken from service when
its person is no member any more: what an operator remembers is lost with it, what the server keeps is not."""


@dataclass(frozen=True, slots=True)
class Ties:
    """What keeps a role from being dropped."""

    sessions: int = 0
    """On the leader."""
    objects: Mapping[str, int] = field(default_factory=dict)
    """By database ("" is none): how many objects it owns or has privileges on."""
    owned: frozenset[str] = frozenset()
    """Of these databases: where it owns something that can be another role's."""
    members: tuple[str, ...] = ()
    """Roles that are members of it, without those that may only administer it."""


@dataclass(frozen=True, slots=True)
class Role:
    """A role as it is: every flag is known."""

    name: str
    flags: Flags
    settings: Mapping[str, str]
    """ALTER ROLE … SET for all databases, values as stored."""
    member_of: Mapping[str, bool]
    """The roles that it is a direct member of, and whether with the admin option."""
    verifier: Verifier | None = None
    connection_limit: int = -1
    valid_until: str | None = None
    """UTC, to the second, or `infinity`; None: for ever."""
    database_settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """ALTER ROLE … IN DATABASE … SET, by database, values as stored."""
    comment: str | None = None
    """COMMENT ON ROLE: what we made, and `TEAM_MEMBER`."""
    ties: Ties | None = None
    """None: not asked for."""

    @property
    def is_marked(self) -> bool:
        """Whether an operator has seen a member of a team in it."""
        return TEAM_MEMBER in (self.comment or "")


INVALID = -2
"""pg_database.datconnlimit of a database whose removal was interrupted."""


@dataclass(frozen=True, slots=True)
class Database:
    """A database, but for `template0` and `template1`."""

    name: str
    owner: str
    allows_connections: bool = True
    encoding: str = ""
    locale: str = ""
    connection_limit: int = -1
    is_template: bool = False
    """Whether others may be made from it by anybody who may make databases."""

    @property
    def is_invalid(self) -> bool:
        """Whether a DROP DATABASE of it was interrupted: all that PostgreSQL lets anybody do with it is to drop it."""
        return self.connection_limit == INVALID

    @property
    def takes_connections(self) -> bool:
        """Whether it can be looked into, for all that the catalogue says."""
        return self.allows_connections and not self.is_invalid


@dataclass(frozen=True, slots=True)
class Schema:
    """A schema with its owner and privileges: (grantee, privilege), grantee "" is everybody."""

    name: str
    owner: str
    privileges: frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Extension:
    """An installed extension."""

    name: str
    schema: str
    relocatable: bool


@dataclass(frozen=True, slots=True)
class Lookup:
    """A function `user_lookup(text)` of a schema, as it is."""

    owner: str
    source: str
    security_definer: bool
    settings: frozenset[str]
    """`name=value` of what is set while it runs."""
    executors: frozenset[str]
    """Who may call it; "" is everybody."""


DefaultKey = tuple[str, str | None, str]
"""Creator, schema (None: everywhere), objects as in `DefaultPrivilege.objects`."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What is in one database."""

    schemas: Mapping[str, Schema]
    extensions: Mapping[str, Extension]
    default_privileges: Mapping[DefaultKey, frozenset[tuple[str, str]]]
    """(grantee, privilege) by key; a key without an entry has PostgreSQL's built-in defaults."""
    lookups: Mapping[str, Lookup] = field(default_factory=dict)
    """By schema."""


EMPTY = Contents(MappingProxyType({}), MappingProxyType({}), MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Publication:
    """What a publication holds: its tables ((schema, table)), and which of insert, update, delete and truncate."""

    tables: frozenset[tuple[str, str]]
    publishes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Publishing:
    """The publications of one database by name, and which of the tables that were asked about exist."""

    publications: Mapping[str, Publication]
    tables: frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """One server, as far as it was asked."""

    roles: Mapping[str, Role]
    databases: Mapping[str, Database]
    contents: Mapping[str, Contents]
    """By database; one that exists but is not here was not read, so nothing is said about its inside."""
    version: int = 0
    """server_version_num, such as 160004."""
    publishing: Mapping[str, Publishing] = field(default_factory=dict)
    """By database, of those that were asked about and exist; of one that exists and is not here nothing is known."""
    unread: Mapping[str, str] = field(default_factory=dict)
    """By database that should have been looked into: why it could not be."""


@dataclass(frozen=True, slots=True)
class ReplicaSessions:
    """What the leader cannot see: who is connected with its replicas. Of the roles that were asked about."""

    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """By role, by member: open sessions, where there are any."""
    unanswered: Mapping[str, str] = field(default_factory=dict)
    """By member: why it could not be asked."""


@dataclass(frozen=True, slots=True)
class Interest:
    """What has to be read to compare: names of roles, and databases whose inside matters."""

    roles: frozenset[str]
    databases: frozenset[str]
    published: Mapping[str, frozenset[tuple[str, str]]] = field(default_factory=dict)
    """By database with publications: the tables ((schema, table)) that shall be published."""
    departed_suffix: str | None = None
    """Also every role that is marked as a team member's, and those of their names with this suffix."""
    dated: frozenset[str] = frozenset()
    """Roles whose rotated logins (six digits behind the name) are read too, with their ties."""
    leaving: frozenset[str] = frozenset()
    """Roles whose ties are read."""
    every_database: bool = False
    """The inside of those that nobody named matters too."""

"""PostgreSQL as a simple catalogue of roles and databases behind the seam of `controller.databases`: no SQL engine.

Statements change the catalogue by what they say: each kind that the scenarios need is one pattern.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from howdah.adapters.postgres import AuthenticationFailed, Outcome, Password, Target
from howdah.model.errors import ExternalError
from howdah.model.postgres.catalogue import Catalogue, Database, Interest, Role, Verifier
from howdah.model.postgres.desired import FLAG_NAMES, Flags, PasswordSource
from howdah.model.postgres.passwords import matches, md5_verifier
from howdah.model.postgres.statements import Kind, Statement

if TYPE_CHECKING:
    from scenario.world.hand import Hand
    from scenario.world.members import Machine

SERVER_VERSION = 180004
NO_FLAGS = Flags(**dict.fromkeys(FLAG_NAMES, False))
_NAME = r'"([^"]+)"'


@dataclass(slots=True)
class Contents:
    """What all members of one cluster hold, physically the same."""

    identifier: int
    roles: dict[str, Role] = field(default_factory=dict)
    databases: dict[str, Database] = field(default_factory=dict)

    def bootstrap(self, superuser: str, superuser_password: str, standby: str, standby_password: str) -> None:
        """As Patroni makes the system's roles, from the pod's environment."""
        self._role(superuser, Flags(**dict.fromkeys(FLAG_NAMES, True)), superuser_password)
        self._role(standby, replace(NO_FLAGS, login=True, replication=True), standby_password)
        self.databases["postgres"] = Database("postgres", superuser)

    def _role(self, name: str, flags: Flags, password: str) -> None:
        self.roles[name] = Role(name, flags, {}, {}, Verifier(md5_verifier(password, name)))

    def accepts(self, user: str, password: str) -> bool:
        """Whether the stored verifier is of this password."""
        role = self.roles.get(user)
        return role is not None and role.verifier is not None and matches(role.verifier.reveal(), password, user)

    def set_verifier(self, name: str, verifier: str) -> None:
        self.roles[name] = replace(self.roles[name], verifier=Verifier(verifier))

    def run(self, statement: Statement, password: str | None) -> None:
        """The effect of one statement; another kind than these would be a mistake of the scenario."""
        text = statement.sql.as_string(None)
        _EFFECTS[statement.kind](self, text)
        if statement.password is not None and password is not None:
            self.set_verifier(statement.password.role, md5_verifier(password, statement.password.role))

    def _create_role(self, text: str) -> None:
        name, words = _parts(rf"CREATE ROLE {_NAME}(.*)", text)
        if name in self.roles:
            raise ExternalError("postgres", transient=False, message=f'role "{name}" already exists')
        self.roles[name] = Role(name, _flagged(NO_FLAGS, words), {}, {})

    def _alter_role(self, text: str) -> None:
        name, words = _parts(rf"ALTER ROLE {_NAME}(.*)", text)
        self.roles[name] = replace(self.roles[name], flags=_flagged(self.roles[name].flags, words))

    def _grant(self, text: str) -> None:
        role, member, more = _parts(rf"GRANT {_NAME} TO {_NAME}(.*)", text)
        held = {**self.roles[member].member_of, role: "ADMIN" in more}
        self.roles[member] = replace(self.roles[member], member_of=held)

    def _create_database(self, text: str) -> None:
        name, owner = _parts(rf"CREATE DATABASE {_NAME} OWNER {_NAME}", text)
        self.databases[name] = Database(name, owner)

    def _own_database(self, text: str) -> None:
        name, owner = _parts(rf"ALTER DATABASE {_NAME} OWNER TO {_NAME}", text)
        self.databases[name] = Database(name, owner)


_EFFECTS: Mapping[Kind, Callable[[Contents, str], None]] = {
    Kind.CREATE_ROLE: Contents._create_role,
    Kind.ALTER_ROLE: Contents._alter_role,
    Kind.PASSWORD: lambda contents, text: None,
    Kind.GRANT_ROLE: Contents._grant,
    Kind.CREATE_DATABASE: Contents._create_database,
    Kind.DATABASE_OWNER: Contents._own_database,
}


def _parts(pattern: str, text: str) -> tuple[str, ...]:
    found = re.fullmatch(pattern, text)
    assert found is not None, f"the simulated server does not understand: {text}"
    return found.groups()


def _flagged(flags: Flags, words: str) -> Flags:
    said = {
        word.lower().removeprefix("no") if word.startswith("NO") else word.lower(): not word.startswith("NO")
        for word in words.split()
    }
    return replace(flags, **said)


@dataclass(slots=True)
class SimulatedServers:
    """What one operator reaches at port 5432. `machine_at` finds the member by its address."""

    hand: Hand
    machine_at: Callable[[str], Machine | None]

    async def observe(self, target: Target, interest: Interest, /) -> Catalogue:
        await self.hand.reach()
        contents = self._contents(target)
        found = Catalogue(
            {name: role for name, role in contents.roles.items() if name in interest.roles},
            dict(contents.databases),
            {},
            SERVER_VERSION,
        )
        self.hand.when_read()
        return found

    async def sessions(self, target: Target, roles: Collection[str], /) -> Mapping[str, int]:
        """Nobody connects in this world."""
        del roles
        await self.hand.reach()
        machine = self.machine_at(target.host)
        if machine is None or machine.contents is None:
            raise ExternalError("postgres", transient=True, message=f"{target.host} takes no connection")
        return {}

    async def apply(
        self,
        target: Target,
        statements: Sequence[Statement],
        passwords: Mapping[PasswordSource, Password],
        /,
        *,
        method: str,
        permit: Callable[[], None],
    ) -> Outcome:
        del method
        await self.hand.reach()
        done: list[Statement] = []
        for statement in statements:
            permit()
            contents = self._contents(target) if not done else self._still(target)
            password = passwords.get(statement.password.source) if statement.password is not None else None
            contents.run(statement, password.value if password is not None else None)
            done.append(statement)
            await self.hand.wrote(f"sql {statement.kind.value} {statement.subject}")
        return Outcome(tuple(done), ())

    def _contents(self, target: Target) -> Contents:
        contents = self._still(target)
        if not contents.accepts(target.user, target.password):
            raise AuthenticationFailed("postgres", transient=False, message=f"{target.host}: password refused")
        return contents

    def _still(self, target: Target) -> Contents:
        machine = self.machine_at(target.host)
        if machine is None or machine.contents is None:
            raise ExternalError("postgres", transient=True, message=f"{target.host} takes no connection")
        if not machine.accepts_writes:
            raise ExternalError("postgres", transient=True, message=f"{target.host} is in recovery")
        return machine.contents

"""Which stored verifiers fit the passwords of the Secrets: computed in a thread, and once for each version."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from howdah.model.postgres.catalogue import Catalogue
from howdah.model.postgres.desired import DesiredRole, PasswordSource
from howdah.model.postgres.passwords import matches


@dataclass(frozen=True, slots=True)
class Password:
    """A clear password, as long as a pass needs it."""

    value: str = field(repr=False)
    version: str
    """Changes with the password and is unique among all Secrets: uid and resourceVersion."""


class PasswordChecks:
    """Answers already computed, the least used forgotten first. Holds verifiers' answers, never passwords."""

    def __init__(self, capacity: int = 50_000) -> None:
        """`capacity`: answers kept; one for each role with a password keeps a quiet fleet free of work."""
        self._capacity = capacity
        self._answers: OrderedDict[tuple[str, str, int], bool] = OrderedDict()

    async def matching(
        self,
        roles: Iterable[DesiredRole],
        catalogue: Catalogue,
        passwords: Mapping[PasswordSource, Password],
    ) -> frozenset[str]:
        """The roles whose stored verifier is one of their password; a role without a known password is not there."""
        asked = [
            (role.name, live.verifier.reveal(), password)
            for role in roles
            if role.password is not None
            and (live := catalogue.roles.get(role.name)) is not None
            and live.verifier is not None
            and (password := passwords.get(role.password)) is not None
        ]
        unknown = [row for row in asked if self._key(*row) not in self._answers]
        if unknown:
            fresh = await asyncio.to_thread(_compared, unknown)
            self._answers.update((self._key(*row), answer) for row, answer in zip(unknown, fresh, strict=True))
        found = frozenset(row[0] for row in asked if self._recall(self._key(*row)))
        while len(self._answers) > self._capacity:
            self._answers.popitem(last=False)
        return found

    def _recall(self, key: tuple[str, str, int]) -> bool:
        self._answers.move_to_end(key)
        return self._answers[key]

    @staticmethod
    def _key(role: str, verifier: str, password: Password) -> tuple[str, str, int]:
        return (role, password.version, hash(verifier))


def _compared(rows: list[tuple[str, str, Password]]) -> list[bool]:
    return [matches(verifier, password.value, role) for role, verifier, password in rows]

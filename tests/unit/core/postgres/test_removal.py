"""What is due for a role that shall go, by what it still owns and may do."""

import pytest

from howdah.core.postgres.removal import farewells
from howdah.model.postgres.catalogue import Catalogue, Role, Ties
from howdah.model.postgres.desired import Desired, Flags, Removal
from howdah.model.postgres.statements import Kind, Statement

NOTE = "ours"
ASLEEP, AWAKE = Flags(login=False), Flags(login=True)


def due(ties: Ties, flags: Flags = ASLEEP) -> list[tuple[Kind, str]]:
    return [(one.kind, one.database) for one in statements(ties, flags)]


def statements(ties: Ties, flags: Flags = ASLEEP) -> list[Statement]:
    roles = {name: Role(name, flags, {}, {}, comment=NOTE, ties=ties) for name in ("old", "heir")}
    found = tuple(farewells(Desired(), Catalogue(roles, {}, {}), (Removal("old", NOTE, "heir"),)))
    return [one for one in found if isinstance(one, Statement)]


@pytest.mark.parametrize(
    ("owned", "steps"),
    [
        ({"shop"}, [(Kind.END_PRIVILEGES, "postgres"), (Kind.HAND_OVER, "shop")]),
        ({""}, [(Kind.HAND_OVER, "postgres"), (Kind.END_PRIVILEGES, "shop")]),
        (set(), [(Kind.END_PRIVILEGES, "postgres"), (Kind.END_PRIVILEGES, "shop")]),
    ],
)
def test_privileges_end_in_a_database_where_nothing_is_owned_any_more(
    owned: set[str], steps: list[tuple[Kind, str]]
) -> None:
    assert due(Ties(objects={"": 1, "postgres": 2, "shop": 3}, owned=frozenset(owned))) == steps


def test_nobody_may_log_in_before_anything_is_handed_over_and_without_ties_the_role_goes() -> None:
    assert due(Ties(objects={"shop": 1}, owned=frozenset({"shop"})), AWAKE) == [(Kind.ALTER_ROLE, "postgres")]
    assert due(Ties()) == [(Kind.DROP_ROLE, "postgres")]


def test_where_a_moment_is_not_enough_a_person_is_told_what_to_do() -> None:
    ending, handing = statements(Ties(objects={"postgres": 2, "shop": 3}, owned=frozenset({"shop"})))
    assert 'REASSIGN OWNED BY "old" TO "heir" by hand' in handing.otherwise
    assert "REVOKE by hand" in ending.otherwise
    assert ending.before is not None, "what may be much is revoked without the lock that every CREATE waits for"

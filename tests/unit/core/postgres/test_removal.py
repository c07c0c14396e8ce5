"""What is due for a role that shall go, by what it still owns and may do."""

import pytest

from howdah.core.postgres.removal import farewells
from howdah.model.postgres.catalogue import Catalogue, Role, Ties
from howdah.model.postgres.desired import Desired, Flags, Removal
from howdah.model.postgres.statements import Kind, Statement

NOTE = "ours"
ASLEEP, AWAKE = Flags(login=False), Flags(login=True)


def due(ties: Ties, flags: Flags = ASLEEP) -> list[tuple[Kind, str]]:
    roles = {name: Role(name, flags, {}, {}, comment=NOTE, ties=ties) for name in ("old", "heir")}
    found = tuple(farewells(Desired(), Catalogue(roles, {}, {}), (Removal("old", NOTE, "heir"),)))
    return [(one.kind, one.database) for one in found if isinstance(one, Statement)]


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

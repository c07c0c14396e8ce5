"""Passwords that are due and roles that shall go, as steps of a plan."""

import datetime as dt
from dataclasses import replace

import pytest

from howdah.core.credentials import kept_roles, rotations
from howdah.core.plan import ChangeSecret, Plan
from howdah.core.planners import decide
from howdah.core.postgres.removal import Kept, farewells
from howdah.core.situation import DatabaseLook
from howdah.core.status import Outcome, build_status
from howdah.model.postgres.catalogue import Catalogue, ReplicaSessions, Ties
from howdah.model.postgres.desired import Desired, Removal
from howdah.model.postgres.rotation import HeldSecret, Mode, Rotation
from unit.core.clusters import NOW, QUIET, situation, three
from unit.core.postgres.test_difference import live_role

HELD = HeldSecret("app", "ns", "app.secret", "uid", "7", "app")
TOMORROW = (NOW + dt.timedelta(days=1)).isoformat()
YESTERDAY = (NOW - dt.timedelta(days=1)).isoformat()
LISTED = {"users": {"app": []}, "usersWithSecretRotation": ["app"]}


def looked(*rotating: Rotation, **more) -> DatabaseLook:
    return replace(QUIET, rotations=rotating, **more)


def rotation(at: str, mode: Mode = Mode.NEW_USER, **said) -> Rotation:
    return Rotation(replace(HELD, next_rotation=at, **said), mode)


def test_a_step_names_the_secret_that_was_seen_and_no_password():
    (step,) = rotations(situation(*three(), spec=LISTED, database=looked(rotation(YESTERDAY)))).steps
    assert isinstance(step, ChangeSecret)
    assert (step.name, step.uid, step.resource_version) == ("app.secret", "uid", "7")
    assert not step.disruptive
    assert not step.holds_up


def test_the_next_rotation_wakes_a_pass_and_is_no_progress():
    seen = situation(*three(), spec=LISTED, database=looked(rotation(TOMORROW), rotation(YESTERDAY, Mode.OFF)))
    plan = decide(seen)
    assert plan.waits == ()
    assert plan.is_quiet
    assert plan.next_look_s == 86400 + 1


def test_a_pause_holds_a_rotation():
    seen = situation(
        *three(), annotations={"howdah.dev/pause": "all"}, spec=LISTED, database=looked(rotation(YESTERDAY))
    )
    plan = decide(seen)
    assert plan.steps == ()
    assert [type(held.step) for held in plan.held] == [ChangeSecret]


def test_a_login_with_a_strangers_name_is_said_and_changes_nothing():
    taken = Rotation(replace(HELD, next_rotation=YESTERDAY), Mode.NEW_USER, strangers=frozenset({f"app{NOW:%y%m%d}"}))
    found = rotations(situation(*three(), spec=LISTED, database=looked(taken)))
    assert found.steps == ()
    assert [held.is_lasting for held in found.held] == [True]


def test_a_role_that_may_not_go_is_said_and_the_cluster_is_settled():
    live = live_role("old", comment="note", ties=Ties(sessions=2))
    kept = tuple(farewells(Desired(), Catalogue({"old": live}, {}, {}), (Removal("old", "note"),)))
    seen = situation(*three(), database=looked(kept=kept))
    assert [held.why for held in kept_roles(seen).held] == ['"old" has 2 open sessions']
    status = build_status({"PostgresClusterStatus": "Running"}, findings(seen), decide(seen), Outcome(), NOW)
    assert status["PostgresClusterStatus"] == "Running"
    progressing = next(c for c in status["conditions"] if c["type"] == "Progressing")
    assert (progressing["status"], progressing["reason"]) == ("False", "Settled")


ON_REPLICAS = (
    (ReplicaSessions(), None),
    (ReplicaSessions({"old": {}, "other": {"acid-a-1": 4}}), None),
    (ReplicaSessions({"old": {"acid-a-1": 1}}), '"old" has 1 open session on acid-a-1'),
    (
        ReplicaSessions({"old": {"acid-a-2": 2, "acid-a-1": 1}}, {"acid-a-3": "away"}),
        '"old" has 3 open sessions on acid-a-1, acid-a-2',
    ),
    (ReplicaSessions({}, {"acid-a-1": "away"}), '"old" may have sessions on acid-a-1, which is waited for: away'),
)


@pytest.mark.parametrize(("replicas", "why"), ON_REPLICAS)
def test_a_role_in_use_on_a_replica_or_perhaps_so_does_not_go(replicas, why):
    live = live_role("old", comment="note", ties=Ties())
    (found,) = farewells(Desired(), Catalogue({"old": live}, {}, {}), (Removal("old", "note"),), replicas)
    assert (found.why if isinstance(found, Kept) else None) == why


def findings(seen):
    from howdah.core.status import Findings

    return Findings(
        generation=1, instances=3, is_initialized=True, views=seen.views, leader="acid-a-0", accepts_writes=True
    )


def test_a_plan_that_only_has_something_later_is_quiet():
    assert Plan(later=rotations(situation(*three(), database=looked(rotation(TOMORROW)))).later).is_quiet

"""What the status is told of a situation."""

from dataclasses import replace
from typing import Any

import pytest

from howdah.core.findings import findings_of
from howdah.core.planners import decide
from howdah.core.situation import DatabaseLook
from howdah.core.status import Outcome, build_status
from unit.core.clusters import NOW, QUIET, leader, pod, situation, three

STANDBY: dict[str, Any] = {"standby": {"standby_host": "other"}}
FOLLOWING = {"standby_cluster": {"host": "other"}}
BY_VARIABLE: dict[str, Any] = {"env": [{"name": "STANDBY_HOST", "value": "other"}]}
STANDBY_LEADER = (leader(role="standby_leader"), pod(1), pod(2))


@pytest.mark.parametrize(
    ("claim", "members", "spec", "dynamic", "ready", "degraded"),
    [
        ("it follows", STANDBY_LEADER, STANDBY, FOLLOWING, "StandbyLeaderRuns", "AsDesired"),
        ("it was a primary before", three(), STANDBY, {}, "LeaderAcceptsWrites", "NotAStandby"),
        ("it was promoted by hand", three(), STANDBY, {"standby_cluster": None}, "LeaderAcceptsWrites", "NotAStandby"),
        ("it is about to follow", three(), STANDBY, FOLLOWING, "LeaderAcceptsWrites", "AsDesired"),
        ("it shall be a primary, and is", three(), {}, {}, "LeaderAcceptsWrites", "AsDesired"),
        ("nobody asked for it", STANDBY_LEADER, {}, FOLLOWING, "StandbyLeaderRuns", "StandbyUnasked"),
        ("a variable asks for it", STANDBY_LEADER, BY_VARIABLE, FOLLOWING, "StandbyLeaderRuns", "AsDesired"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_whether_a_cluster_is_a_standby_is_said_as_patroni_has_it(claim, members, spec, dynamic, ready, degraded):
    found = situation(*members, spec=spec, dynamic=dynamic)
    status = build_status({"PostgresClusterStatus": "Running"}, findings_of(found), decide(found), Outcome(), NOW)
    said = {c["type"]: c["reason"] for c in status["conditions"]}
    assert (said["Ready"], said["Degraded"]) == (ready, degraded), claim


@pytest.mark.parametrize(
    ("claim", "before", "spec", "dynamic", "after"),
    [
        ("the manifest asks", {}, STANDBY, FOLLOWING, "true"),
        ("it asks before there is anything", {}, STANDBY, None, "true"),
        ("it asks no more", {"standby": "true"}, {}, FOLLOWING, "true"),
        ("it is promoted", {"standby": "true"}, {}, {"standby_cluster": None}, None),
        ("it never asked", {}, {}, FOLLOWING, None),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_that_a_manifest_asked_for_a_standby_cluster_stays_said_until_it_is_promoted(
    claim, before, spec, dynamic, after
):
    found = situation(*STANDBY_LEADER, spec=spec, dynamic=dynamic, status=before)
    status = build_status(before, findings_of(found), decide(found), Outcome(), NOW)
    assert status.get("standby") == after, claim


def test_of_a_primary_that_shall_be_a_standby_no_database_is_managed():
    assert not situation(*three(), spec=STANDBY).manages_databases
    assert situation(*three()).manages_databases


FAILED = (("alpha", "no"), ("beta", "no"))


@pytest.mark.parametrize(
    ("claim", "looked", "said"),
    [
        ("what is lacking is known, and tried or held back", replace(QUIET, failures=FAILED), ()),
        ("it is read anew", replace(QUIET, failures=FAILED, is_due=True), FAILED),
        ("one is being tried", replace(QUIET, failures=FAILED, at_work=frozenset({"beta"})), FAILED[1:]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_statements_that_failed_are_told_while_nobody_knows_better(claim, looked, said):
    assert findings_of(situation(*three(), database=looked)).failed_statements == said, claim


def test_what_is_read_anew_says_nothing_new_of_passwords():
    edited = replace(QUIET, edited=frozenset({"standby"}))
    assert findings_of(situation(*three(), database=edited)).credentials_in_sync is False
    unread = DatabaseLook(is_known=True, is_due=True)
    assert findings_of(situation(*three(), database=unread)).credentials_in_sync is None

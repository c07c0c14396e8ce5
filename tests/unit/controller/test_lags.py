"""When a member's lag is worth a pass: once for each time that it passes a limit, never for a mere position."""

import json

import pytest

from howdah.controller.lags import Lags
from howdah.model.observed import Meta, Pod

KEY = ("ns", "acid-a")
MIB = 1024 * 1024


def member(name, role, lsn):
    said = {"role": role, "state": "running", "xlog_location": lsn}
    return KEY, Pod(metadata=Meta(name=name, namespace="ns", uid="u", annotations={"status": json.dumps(said)}))


def cluster(behind_mib, at=1000 * MIB):
    return [member("acid-a-0", "primary", at), member("acid-a-1", "replica", at - behind_mib * MIB)]


def test_positions_that_move_are_no_news():
    lags = Lags()
    assert [lags.look(cluster(lag, at=(1000 + 50 * step) * MIB)) for step, lag in enumerate((0, 3, 15, 1))] == [[]] * 4


def test_a_member_that_falls_behind_and_catches_up_is_told_of_twice():
    lags = Lags()
    told = [bool(lags.look(cluster(lag))) for lag in (0, 20, 33, 40, 20, 10, 0)]
    assert told == [False, False, True, False, False, True, False]


@pytest.mark.parametrize(
    "pods", [cluster(0)[1:], [(KEY, Pod(metadata=Meta(name="acid-a-1", namespace="ns", uid="u")))], []]
)
def test_without_both_positions_nothing_is_concluded(pods):
    assert Lags().look(pods) == []


def test_a_member_that_is_behind_at_the_first_look_is_told_of():
    assert Lags().look(cluster(100)) == [KEY]


def test_a_member_that_says_what_nobody_can_read_hides_no_other():
    lags = Lags()
    odd = (
        ("ns", "acid-b"),
        Pod(metadata=Meta(name="acid-b-0", namespace="ns", uid="u", annotations={"status": '{"tags":' + "[" * 5000})),
    )
    assert lags.look([odd, *cluster(0)]) == []
    assert lags.look([odd, *cluster(40)]) == [KEY]

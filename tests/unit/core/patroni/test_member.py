"""Annotations as Patroni 4.1 writes them, and ones that nobody should write."""

import datetime as dt
import json

import pytest

from howdah.core.patroni.member import (
    CALLS_AFTER_S,
    UNKNOWN,
    ConfigObject,
    Leader,
    ParameterChange,
    Promotion,
    Sync,
    call_value,
    parse_config,
    parse_leader,
    parse_member,
    parse_sync,
)
from howdah.model import names

DEEP = "[" * 5000 + "]" * 5000  # more than any decoder reads; an annotation may be a hundred times as long
REPLICA = {
    "conn_url": "postgres://127.2.0.2:5432/postgres",
    "api_url": "http://127.2.0.2:8008/patroni",
    "state": "running",
    "role": "replica",
    "version": "4.1.5",
    "pending_restart": True,
    "pending_restart_reason": {"max_connections": {"old_value": "100", "new_value": "200"}},
    "xlog_location": 67109200,
    "replay_lsn": 67109000,
    "receive_lsn": 67109200,
    "replication_state": "streaming",
    "timeline": 2,
    "tags": {"clonefrom": True},
}


def annotations(**changes):
    return {"status": json.dumps({k: v for k, v in {**REPLICA, **changes}.items() if v is not None})}


def test_a_pod_without_annotation_is_no_member_yet():
    assert parse_member("c-0", None) is None
    assert parse_member("c-0", {"other": "x"}) is None


def test_a_streaming_replica_is_read_whole():
    member = parse_member("c-1", annotations())
    assert (member.role, member.state, member.postgres_state) == ("replica", "streaming", "running")
    assert (member.timeline, member.lsn, member.replayed_lsn) == (2, 67109200, 67109000)
    assert member.pending_restart
    assert member.pending_changes == (ParameterChange("max_connections", "100", "200"),)
    assert member.api_url == "http://127.2.0.2:8008/patroni"
    assert member.patroni_version == "4.1.5"
    assert member.may_lead
    assert member.problem is None


@pytest.mark.parametrize(
    ("changes", "role", "state"),
    [
        ({"role": "primary", "replication_state": None}, "primary", "running"),
        ({"role": "master", "replication_state": None}, "primary", "running"),
        ({"role": "primary", "replication_state": "streaming"}, "primary", "running"),
        ({"state": "starting"}, "replica", "starting"),
        ({"replication_state": "in archive recovery"}, "replica", "in archive recovery"),
        ({"replication_state": None}, "replica", "running"),
        ({"role": "standby_leader"}, "standby_leader", "running"),
        ({"role": "uninitialized", "state": "creating replica"}, "uninitialized", "creating replica"),
        ({"role": 7, "state": None}, UNKNOWN, UNKNOWN),
    ],
)
def test_state_is_what_patronictl_would_show(changes, role, state):
    member = parse_member("c-1", annotations(**changes))
    assert (member.role, member.state) == (role, state)


@pytest.mark.parametrize(
    ("tags", "may_lead"), [({"nofailover": True}, False), ({"failover_priority": 0}, False), ({}, True)]
)
def test_tags_can_keep_a_member_from_leading(tags, may_lead):
    assert parse_member("c-1", annotations(tags=tags)).may_lead is may_lead


@pytest.mark.parametrize("text", ["", "null", "[]", "{", '"x"', "{}", '{"state": 1, "timeline": "x", "tags": 3}'])
def test_a_malformed_status_is_said_and_never_raised(text):
    member = parse_member("c-1", {"status": text})
    assert member.state == UNKNOWN
    assert member.problem


def test_the_leader_object_says_who_leads_and_until_when():
    leader = parse_leader(
        {
            "leader": "c-0",
            "renewTime": "2026-11-23T10:00:00.5+00:00",
            "acquireTime": "2026-11-23T09:00:00+00:00",
            "ttl": "30",
            "transitions": "3",
            "optime": "67109200",
        }
    )
    assert (leader.name, leader.ttl_s, leader.transitions, leader.optime) == ("c-0", 30, 3, 67109200)
    assert leader.expires_at == dt.datetime(2026, 11, 23, 10, 0, 30, 500_000, tzinfo=dt.UTC)
    assert leader.problem is None


@pytest.mark.parametrize(
    ("text", "names"),
    [('{"c-0":"http://a/patroni","c-1":"x"}', {"c-0", "c-1"}), (None, None), ("{}", None), ("[]", None), ("{", None)],
)
def test_the_leader_says_who_may_take_over_in_failsafe_mode(text, names):
    said = {"leader": "c-0", "renewTime": "2026-11-23T10:00:00+00:00"} | ({} if text is None else {"failsafe": text})
    assert parse_leader(said).failsafe == names


RENEWED = "2026-11-23T10:00:00+00:00"


@pytest.mark.parametrize(
    ("unchanged_s", "due"),
    [(0, 0), (30, 0), (30.05, 0), (30.1, 1), (30.4, 1), (30.5, 2), (32.5, 3), (34.5, 4), (1000, 4)],
)
def test_members_are_called_when_the_lock_has_expired_and_not_for_ever(unchanged_s, due):
    assert parse_leader({"leader": "c-0", "renewTime": RENEWED, "ttl": "30"}).calls_due(unchanged_s) == due


@pytest.mark.parametrize(
    ("unchanged_s", "age_s", "was_renewed", "left_s"),
    [
        (0, 0, False, 30.1),
        (30.1, 0, False, 0.4),
        (30.1, 59.9, False, 0.1),  # by the holder's clock it is older
        (30.1, 61, False, 0.4),  # and so it is known to be silent
        (35, 40, False, 20),
        (35, 61, False, None),
        (30.1, 59.9, True, 0.4),  # a renewal was seen: its clock does not count
        (35, 3600, True, 25),
        (61, 0, True, None),
    ],
)
def test_when_something_follows_from_silence_is_known_beforehand(unchanged_s, age_s, was_renewed, left_s):
    leader = parse_leader({"leader": "c-0", "renewTime": RENEWED, "ttl": "30"})
    assert leader.renewed_at is not None
    now = leader.renewed_at + dt.timedelta(seconds=age_s)
    left = leader.changes_in_s(unchanged_s, now, was_renewed=was_renewed)
    assert left == (None if left_s is None else pytest.approx(left_s))


@pytest.mark.parametrize("said", [{"ttl": "30", "renewTime": RENEWED}, {"leader": "c-0", "renewTime": RENEWED}])
def test_without_a_holder_or_a_ttl_nobody_is_called(said):
    assert parse_leader(said).calls_due(1000) == 0
    assert parse_leader(said).changes_in_s(0, dt.datetime.now(dt.UTC), was_renewed=False) is None


@pytest.mark.parametrize(
    ("mark", "calls"),
    [
        (call_value(RENEWED, 2), 2),
        (call_value("2026-11-23T09:59:50+00:00", 2), 0),  # of an earlier renewal
        (None, 0),
        ("", 0),
        (f"{RENEWED}/x", 0),
        (f"{RENEWED}/²", 0),
        (f"{RENEWED}/{'9' * 5000}", 0),
    ],
)
def test_a_lock_is_silent_once_a_call_was_made_since_its_last_renewal(mark, calls):
    said = {"leader": "c-0", "renewTime": RENEWED, "ttl": "30"} | ({} if mark is None else {names.LOCK_EXPIRED: mark})
    leader = parse_leader(said)
    assert leader.calls == calls
    just_now = dt.datetime(2026, 11, 23, 10, 0, 31, tzinfo=dt.UTC)
    assert leader.is_silent(just_now) is bool(calls)
    assert leader.is_silent(just_now + dt.timedelta(seconds=30))


@pytest.mark.parametrize("ahead_s", [-3600, 0, 90, 3600])
def test_a_clock_that_is_wrong_makes_no_leader_silent_that_is_seen_to_renew_its_lock(ahead_s):
    leader = parse_leader({"leader": "c-0", "renewTime": RENEWED, "ttl": "30"})
    now = dt.datetime(2026, 11, 23, 10, 0, tzinfo=dt.UTC) + dt.timedelta(seconds=ahead_s)
    assert not leader.is_silent(now, 10.0)
    assert not leader.is_silent(now, 60.0)
    assert leader.is_silent(now, 60.1)


def test_nobody_leads_without_a_leader_annotation():
    assert parse_leader(None) == Leader()
    assert parse_leader({"optime": "1"}).name is None
    assert parse_leader({"leader": "", "renewTime": "x"}).name is None


@pytest.mark.parametrize("ttl", ["30", "0", "-5", "9" * 12, "9" * 400])
@pytest.mark.parametrize("renewed", [RENEWED, "0001-01-01T00:00:00+00:00", "9999-12-31T23:59:59+00:00"])
def test_whatever_somebody_writes_into_a_leader_object_stops_nobody(renewed, ttl):
    leader = parse_leader({"leader": "c-0", "renewTime": renewed, "ttl": ttl})
    now = dt.datetime(2026, 11, 23, 10, 1, tzinfo=dt.UTC)
    assert leader.is_silent(now) in (True, False)
    assert leader.is_silent(now, 100.0) in (True, False)
    assert 0 <= leader.calls_due(100.0) <= len(CALLS_AFTER_S)
    for was_renewed in (True, False):
        left_s = leader.changes_in_s(100.0, now, was_renewed=was_renewed)
        assert left_s is None or left_s >= 0


def test_a_leader_with_an_unreadable_time_is_said():
    leader = parse_leader({"leader": "c-0", "renewTime": "yesterday", "ttl": "soon"})
    assert leader.name == "c-0"
    assert leader.expires_at is None
    assert leader.problem


def test_the_config_object_is_read_whole():
    config = parse_config(
        {
            "config": '{"ttl": 30}',
            "initialize": "7575757575",
            "history": '[[1,67109200,"no recovery target specified","2026-11-23T10:00:00+00:00","c-1"],[2,90000,"x"],["y"]]',
        }
    )
    assert config.dynamic == {"ttl": 30}
    assert config.is_initialized
    assert config.history[0] == Promotion(
        1, 67109200, "no recovery target specified", "2026-11-23T10:00:00+00:00", "c-1"
    )
    assert config.history[1:] == (Promotion(2, 90000, "x"),)


@pytest.mark.parametrize("initialize", [None, ""])
def test_a_cluster_that_bootstraps_is_not_initialized(initialize):
    said = {} if initialize is None else {"initialize": initialize}
    assert not parse_config(said).is_initialized


@pytest.mark.parametrize("text", ["", "[]", "{", "7"])
def test_an_unreadable_configuration_is_said_and_not_taken_as_empty(text):
    config = parse_config({"config": text, "history": text})
    assert config.dynamic is None
    assert config.problem
    assert config.history == ()


def test_no_config_object_is_not_an_error():
    assert parse_config(None) == ConfigObject()


def test_synchronous_standbys_are_a_set():
    assert parse_sync({"leader": "c-0", "sync_standby": "c-1, c-2,", "quorum": "1"}) == Sync(
        "c-0", frozenset({"c-1", "c-2"}), 1
    )
    assert parse_sync(None) == Sync()


@pytest.mark.parametrize(
    ("dynamic", "synchronous"),
    [
        ({"synchronous_mode": True}, True),
        ({"synchronous_mode": "on"}, True),
        ({"synchronous_mode": "quorum"}, False),
        ({}, False),
        ({"synchronous_mode": True, "standby_cluster": {"host": "away"}}, False),
        ({"synchronous_mode": True, "standby_cluster": {"restore_command": "fetch"}}, False),
        ({"synchronous_mode": True, "standby_cluster": {"create_replica_methods": ["basebackup"]}}, True),
        ({"synchronous_mode": True, "standby_cluster": None}, True),
    ],
)
def test_only_a_leader_of_its_own_has_synchronous_standbys_by_name(dynamic, synchronous):
    assert ConfigObject(dynamic=dynamic).is_synchronous is synchronous


@pytest.mark.parametrize("part", ["role", "tags", "of a later version"])
def test_a_member_that_says_what_nobody_can_read_is_one_with_a_problem(part):
    member = parse_member("a-0", {"status": f'{{"{part}":{DEEP}}}'})
    assert member.problem.startswith("annotation status is not a JSON object")
    assert member.state == UNKNOWN


def test_no_depth_of_a_change_ends_who_reads_it():
    """At some depth a value can just be decoded and no more be put into words."""
    for depth in range(300, 1000):
        value = "[" * depth + "]" * depth
        member = parse_member(
            "a-0", {"status": f'{{"state":"running","pending_restart_reason":{{"x":{{"old_value":{value}}}}}}}'}
        )
        history = parse_config({"history": f"[[1,2,{value}]]"}).history
        assert member.problem is not None or member.pending_changes[0].old == value
        assert not history or history[0].reason == value


def test_objects_of_patroni_that_nobody_can_read_are_as_if_nothing_were_said():
    config = parse_config({"config": f'{{"ttl":{DEEP}}}', "history": DEEP})
    assert (config.dynamic, config.history) == (None, ())
    assert config.problem.startswith("annotation config is not a JSON object")
    assert parse_leader({"failsafe": DEEP}).failsafe is None

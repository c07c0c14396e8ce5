"""Who restarts first, who takes over, and what is local: tables."""

import dataclasses

import pytest

from howdah.core.patroni.credentials import derived_credentials
from howdah.core.patroni.member import Member, ParameterChange
from howdah.core.patroni.parameters import LOCAL, split
from howdah.core.patroni.restart import restart_order
from howdah.core.patroni.switchover import Eligibility, choose_candidate


def pending(name, *changes, state="running"):
    found = tuple(ParameterChange(*change) for change in changes)
    return Member(name, state=state, postgres_state=state, pending_restart=True, pending_changes=found)


MORE = ("max_connections", "100", "200")
FEWER = ("max_connections", "200", "100")
FEWER_SENDERS = ("max_wal_senders", "10", "5")
MORE_SENDERS = ("max_wal_senders", "5", "10")
OTHER = ("shared_buffers", "128MB", "64MB")


@pytest.mark.parametrize(
    ("changes", "order"),
    [
        ((MORE,), ["c-2", "c-1", "c-0"]),
        ((FEWER,), ["c-0", "c-2", "c-1"]),
        ((FEWER, FEWER_SENDERS), ["c-0", "c-2", "c-1"]),
        ((FEWER, MORE_SENDERS), ["c-2", "c-1", "c-0"]),
        ((FEWER, OTHER), ["c-2", "c-1", "c-0"]),
        ((OTHER,), ["c-2", "c-1", "c-0"]),
        ((("max_connections", "?", ""),), ["c-2", "c-1", "c-0"]),
        ((), ["c-2", "c-1", "c-0"]),
    ],
)
def test_the_leader_restarts_first_only_when_everything_decreases(changes, order):
    members = [pending(f"c-{n}", *changes) for n in range(3)]
    assert [restart.name for restart in restart_order(members, "c-0").restarts] == order


@pytest.mark.parametrize(
    ("claim", "leader", "replicas", "order"),
    [
        ("nothing but less: not before the leader", (FEWER, OTHER), ((FEWER,), (FEWER, OTHER)), ["c-2", "c-0", "c-1"]),
        ("all replicas have the rest", (FEWER, OTHER), ((FEWER,), (FEWER,)), ["c-0", "c-2", "c-1"]),
        ("the leader has less", None, ((FEWER,), (FEWER,)), ["c-2", "c-1"]),
    ],
)
def test_a_replica_that_only_waits_to_have_less_comes_after_its_leader(claim, leader, replicas, order):
    head = pending("c-0", *leader) if leader is not None else Member("c-0", state="running")
    members = [head, *(pending(f"c-{n}", *changes) for n, changes in enumerate(replicas, start=1))]
    assert [restart.name for restart in restart_order(members, "c-0").restarts] == order, claim


def test_a_replica_that_was_restarted_for_what_is_not_known_comes_after_its_leader():
    members = [pending(f"c-{n}") for n in range(3)]
    done = {"c-2 waits for a restart"}
    assert [restart.name for restart in restart_order(members, "c-0", done=done).restarts] == ["c-1", "c-0", "c-2"]
    without = restart_order([Member("c-0", state="running"), *members[1:]], "c-0", done=done)
    assert ([r.name for r in without.restarts], [r.name for r in without.useless]) == (["c-1"], ["c-2"])


def test_a_leader_is_not_restarted_twice_for_the_same_reason():
    members = [pending(f"c-{n}", OTHER) for n in range(2)]
    reasons = {restart.name: restart.reason for restart in restart_order(members, "c-0").restarts}
    order = restart_order(members, "c-0", done_leading=reasons["c-0"])
    assert ([r.name for r in order.restarts], [r.name for r in order.useless]) == (["c-1"], ["c-0"])
    changed = restart_order([pending("c-0", MORE), members[1]], "c-0", done_leading=reasons["c-0"])
    assert [r.name for r in changed.restarts] == ["c-1", "c-0"]
    followed = restart_order(members, "c-1", done_leading=reasons["c-0"])
    assert [r.name for r in followed.restarts] == ["c-0", "c-1"], "who was the leader is a replica like any other"


def test_nobody_in_a_standby_cluster_restarts_to_have_less_than_its_primary():
    members = [pending(f"c-{n}", FEWER) for n in range(2)]
    order = restart_order(members, "c-0", is_standby=True)
    assert (order.restarts, [restart.name for restart in order.useless]) == ((), ["c-0", "c-1"])
    mixed = [pending(f"c-{n}", FEWER, OTHER) for n in range(2)]
    assert [restart.name for restart in restart_order(mixed, "c-0", is_standby=True).restarts] == ["c-1", "c-0"]


def test_a_restart_names_its_parameters():
    restarts = restart_order([pending("c-0", MORE)], "c-0").restarts
    assert restarts[0].reason == "c-0 waits for a restart: max_connections 100 → 200"


def test_members_without_pending_restart_are_left_alone():
    assert restart_order([Member("c-0", state="running")], "c-0").restarts == ()
    order = restart_order([Member("c-0", state="running"), pending("c-1", MORE)], "c-0")
    assert [restart.name for restart in order.restarts] == ["c-1"]


def test_nothing_restarts_while_a_replica_is_being_created():
    order = restart_order([pending("c-0", MORE), Member("c-1", postgres_state="creating replica")], "c-0")
    assert order.restarts == ()
    assert order.held == "c-1 is in state creating replica; restarts wait for it"


def replica(name, lsn=100, state="streaming", timeline=1, **tags):
    url = "http://10.0.0.1:8008/patroni"
    return Member(name, role="replica", state=state, lsn=lsn, timeline=timeline, tags=tags, api_url=url)


@pytest.mark.parametrize(
    ("members", "synchronous", "name"),
    [
        ([], set(), None),
        ([replica("c-1"), replica("c-2")], set(), "c-1"),
        ([replica("c-1", 99), replica("c-2", 100)], set(), "c-2"),
        ([replica("c-1", 99), replica("c-2", 100)], {"c-1"}, "c-1"),
        ([replica("c-1", None), replica("c-2", 0)], set(), "c-2"),
        ([replica("c-1", 100, "running"), replica("c-2", 99)], set(), "c-2"),
        ([replica("c-1", state="starting")], {"c-1"}, None),
        ([replica("c-1", nofailover=True)], set(), None),
        ([replica("c-1", state="in archive recovery")], set(), "c-1"),
    ],
)
def test_the_candidate_is_synchronous_or_lacks_least(members, synchronous, name):
    choice = choose_candidate(members, Eligibility(synchronous))
    assert choice.name == name
    assert choice.reason


def test_a_member_on_another_timeline_cannot_take_over():
    choice = choose_candidate([replica("c-1", timeline=1)], Eligibility(timeline=2))
    assert choice.name is None
    assert choice.reason == "c-1 is on timeline 1, the leader on 2"


def test_where_only_a_synchronous_standby_may_take_over_no_other_does():
    members = [replica("c-1", 99), replica("c-2", 100)]
    assert choose_candidate(members, Eligibility({"c-1"}, only_synchronous=True)).name == "c-1"
    choice = choose_candidate(members, Eligibility(only_synchronous=True))
    assert choice.name is None
    assert "c-1 is not a synchronous standby, and Patroni hands over to no other" in choice.reason


def test_a_member_that_failsafe_mode_does_not_know_cannot_take_over():
    members = [replica("c-1", 99), replica("c-2", 100)]
    assert choose_candidate(members, Eligibility(failsafe={"c-0", "c-1"})).name == "c-1"
    assert choose_candidate(members, Eligibility(failsafe={"c-0"})).name is None
    assert choose_candidate(members, Eligibility(failsafe=None)).name == "c-2"


MIB = 2**20


@pytest.mark.parametrize(
    ("claim", "lsn", "rules", "able"),
    [
        ("as much as is allowed", 9 * MIB, {}, True),
        ("a byte more", 9 * MIB - 1, {}, False),
        ("more is allowed", 9 * MIB - 1, {"maximum_lag": 10 * MIB}, True),
        ("nothing is allowed", 10 * MIB - 1, {"maximum_lag": 0}, False),
        ("it is ahead of what the leader said last", 11 * MIB, {"maximum_lag": 0}, True),
        ("it does not say how far it is", None, {}, False),
        ("the leader has said nothing", 0, {"optime": None}, True),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_who_lacks_more_than_patroni_allows_cannot_take_over(claim, lsn, rules, able):
    why_not = Eligibility(**{"optime": 10 * MIB, **rules}).obstacle(replica("c-1", lsn))
    assert (why_not is None) is able, claim
    assert able or why_not.endswith("bytes (maximum_lag_on_failover)")


def test_who_takes_no_connections_or_no_commands_cannot_take_over():
    assert Eligibility(down={"c-1": "is not ready"}).obstacle(replica("c-1")) == "is not ready"
    assert "where its Patroni is" in Eligibility().obstacle(dataclasses.replace(replica("c-1"), api_url=None))


def test_parameters_are_split_by_where_they_are_written():
    parameters = split({"shared_buffers": "1GB", "max_connections": "10", "ssl": "on", "Shared_Buffers": "x"})
    assert parameters.local == {"shared_buffers": "1GB", "ssl": "on"}
    assert parameters.dynamic == {"Shared_Buffers": "x", "max_connections": "10"}
    assert len(LOCAL) == 20


def test_rest_credentials_are_derived_and_hidden():
    credentials = derived_credentials("postgres", "secret")
    assert credentials.username == "postgres"
    assert credentials.password == "40680f84fada90a02eb705a44ecf82a85c4525e687bec0dda94899773709770f"
    assert credentials.password not in repr(credentials)

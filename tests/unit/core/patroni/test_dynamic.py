"""The smallest patch, and nothing that the manifest does not speak of."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from howdah.core.patroni.dynamic import dynamic_patch, with_unsaid

LIVE = {
    "ttl": 30,
    "loop_wait": 10,
    "failsafe_mode": False,
    "pause": True,
    "slots": {"mine": {"type": "physical"}},
    "postgresql": {
        "use_slots": True,
        "parameters": {"max_connections": 100, "work_mem": "4MB", "wal_log_hints": "on"},
    },
}


def merged(live, patch):
    """Patroni's merge: https://patroni.readthedocs.io/en/latest/dynamic_configuration.html."""
    result = copy.deepcopy(live)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            result[key] = merged(result.get(key) if isinstance(result.get(key), dict) else {}, value)
        else:
            result[key] = value
    return result


@pytest.mark.parametrize(
    ("desired", "body"),
    [
        ({}, {}),
        ({"ttl": 30}, {}),
        ({"ttl": "30"}, {}),
        ({"ttl": 40}, {"ttl": 40}),
        ({"failsafe_mode": True}, {"failsafe_mode": True}),
        ({"failsafe_mode": "off"}, {}),
        ({"synchronous_mode": True}, {"synchronous_mode": True}),
        ({"synchronous_mode": False, "synchronous_mode_strict": False, "synchronous_node_count": 1}, {}),
        ({"maximum_lag_on_failover": None}, {}),
        ({"loop_wait": None}, {"loop_wait": None}),
        ({"postgresql": {"parameters": {"max_connections": "100"}}}, {}),
        ({"postgresql": {"parameters": {"wal_log_hints": True}}}, {}),
        (
            {"postgresql": {"parameters": {"wal_log_hints": "1"}}},
            {"postgresql": {"parameters": {"wal_log_hints": "1"}}},
        ),
        ({"postgresql": {"parameters": {"work_mem": "8MB"}}}, {"postgresql": {"parameters": {"work_mem": "8MB"}}}),
        ({"postgresql": {}}, {}),
        ({"slots": {"mine": {"type": "physical"}}}, {}),
        ({"slots": {"new": {"type": "logical", "database": "a", "plugin": "p"}}},) * 2,
        ({"postgresql": {"pg_hba": ["local all all trust"]}},) * 2,
    ],
)
def test_the_patch_holds_only_what_differs(desired, body):
    patch = dynamic_patch(desired, LIVE)
    assert patch.body == body
    assert bool(patch) is bool(body)


def test_every_change_has_its_reason():
    patch = dynamic_patch({"ttl": 40, "postgresql": {"parameters": {"jit": "off"}}}, LIVE)
    assert patch.reason == "postgresql.parameters.jit: absent → off; ttl: 30 → 40"


@pytest.mark.parametrize(
    ("claim", "desired", "live", "body"),
    [
        ("nobody asked", {}, {}, {}),
        (
            "the manifest does so no more",
            {},
            {"synchronous_mode": True, "synchronous_mode_strict": True, "synchronous_node_count": 2},
            {"synchronous_mode": False, "synchronous_mode_strict": False, "synchronous_node_count": 1},
        ),
        ("as text", {}, {"synchronous_mode": "on"}, {"synchronous_mode": False}),
        (
            "it asks for less",
            {"synchronous_mode": True},
            {"synchronous_mode": True, "synchronous_mode_strict": True},
            {"synchronous_mode_strict": False},
        ),
        ("people chose a quorum", {}, {"synchronous_mode": "quorum", "synchronous_node_count": 2}, {}),
        (
            "the manifest refuses",
            {"synchronous_mode": False},
            {"synchronous_mode": "quorum"},
            {"synchronous_mode": False},
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_manifest_that_says_nothing_of_synchronous_replication_asks_for_none(claim, desired, live, body):
    assert dynamic_patch(with_unsaid(desired, live), live).body == body, claim


scalars = st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["on", "off", "1", "x"])
trees = st.recursive(
    st.dictionaries(st.sampled_from("abc"), scalars, max_size=3),
    lambda below: st.dictionaries(st.sampled_from(["a", "b", "postgresql", "parameters", "slots"]), below, max_size=3),
    max_leaves=8,
)


@given(desired=trees, live=trees)
def test_a_second_pass_finds_nothing_to_do(desired, live):
    first = dynamic_patch(desired, live)
    assert not dynamic_patch(desired, merged(live, first.body))


@given(desired=trees, live=trees)
def test_keys_that_are_not_spoken_of_stay(desired, live):
    after = merged(live, dynamic_patch(desired, live).body)
    assert {k: v for k, v in after.items() if k not in desired} == {k: v for k, v in live.items() if k not in desired}

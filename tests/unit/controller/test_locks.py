"""When a lock that nobody renews is told of: by this process's clock, once for each thing that follows."""

import datetime as dt

import pytest

from howdah.controller.locks import Lock, Locks

PLACE, KEY = ("ConfigMap", "ns", "acid-a-leader"), ("ns", "acid-a")
NOW = dt.datetime(2026, 11, 23, 10, 0, tzinfo=dt.UTC)
FIRST, SECOND = "2026-11-23T10:00:00+00:00", "2026-11-23T10:00:10+00:00"
CALLS = [30.1, 30.5, 32.5, 34.5]


def lock(renewed=FIRST, *, place=PLACE, watched_s=lambda: float("inf"), **annotations):
    said = {"leader": "acid-a-0", "ttl": "30", "renewTime": renewed, **annotations}
    return Lock(place, KEY, renewed, said, watched_s)


def about(times):
    """But for `SHORTEST_WAIT_S`."""
    return pytest.approx(times, abs=0.002)


def told(locks, until_s):
    """Asks each time that the queue says, as the watch does; when something was told."""
    found = []
    while (at_s := locks.first_s) is not None and at_s < until_s:
        found += [at_s] * len(locks.due(at_s, NOW + dt.timedelta(seconds=at_s)))
    return found


def test_a_silent_lock_is_told_of_at_the_moment_of_each_call_and_when_it_is_silent_by_any_clock():
    locks = Locks()
    locks.hear(lock(), 0.0)
    assert told(locks, 1000) == about([*CALLS, 60.0])
    assert locks.first_s is None


def test_silence_is_counted_from_the_renewal_and_not_from_when_it_was_looked_at():
    locks = Locks()
    locks.hear(lock(), 0.0)
    assert told(locks, 9.7) == []
    locks.hear(lock(SECOND), 9.7)
    assert told(locks, 45) == about([9.7 + at_s for at_s in CALLS])
    assert locks.unchanged_s(PLACE, SECOND, 50.0) == pytest.approx(40.3)
    assert locks.unchanged_s(PLACE, FIRST, 50.0) == 0.0


def test_a_renewed_lock_is_never_told_of_and_looked_at_once_per_ttl():
    locks, looks = Locks(), 0
    for second in range(0, 300, 10):
        locks.hear(lock(f"2026-11-23T10:0{second // 60}:{second % 60:02}+00:00"), float(second))
        while locks.first_s < second + 10:
            looks += 1
            assert locks.due(locks.first_s, NOW + dt.timedelta(seconds=locks.first_s)) == []
    assert looks < 300 / 20 + 2


def test_a_mark_on_the_lock_is_no_renewal():
    locks = Locks()
    locks.hear(lock(), 0.0)
    assert told(locks, 30.2) == about([30.1])
    locks.hear(lock(**{"howdah.dev/lock-expired": f"{FIRST}/1"}), 30.2)
    assert told(locks, 1000) == about(CALLS[1:])


def test_a_shorter_ttl_counts_at_once():
    locks = Locks()
    locks.hear(lock(), 0.0)
    assert told(locks, 1) == []
    locks.hear(lock(SECOND, ttl="20"), 1.0)
    assert told(locks, 22) == about([21.1, 21.5])


def test_a_lock_that_is_taken_after_it_was_silent_for_long_is_told_of_again():
    locks = Locks()
    locks.hear(lock(), 0.0)
    told(locks, 1000)
    locks.hear(lock("2026-11-23T10:16:40+00:00", leader="acid-a-1"), 1000.0)
    assert told(locks, 1031) == about([1030.1, 1030.5])


def test_what_could_not_be_watched_does_not_count():
    """An API server that was away: the leader could not renew either."""
    locks, back_s = Locks(), 40.0
    clock = {"s": 0.0}
    watched = lock(watched_s=lambda: max(0.0, clock["s"] - back_s))
    locks.hear(watched, 0.0)
    found = []
    while locks.first_s < 75:
        clock["s"] = locks.first_s
        found += [clock["s"]] * len(locks.due(clock["s"], NOW))
    assert found == about([back_s + at_s for at_s in CALLS])
    assert locks.unchanged_s(PLACE, FIRST, 75.0) == clock["s"] - back_s


def test_a_lock_that_has_been_silent_since_long_before_the_start_is_told_of_at_once():
    locks = Locks()
    locks.hear(lock(), 0.0)
    assert locks.due(0.0, NOW + dt.timedelta(hours=1)) == [KEY]
    assert locks.unchanged_s(PLACE, FIRST, 1.0) == 1.0
    assert not locks.was_renewed(PLACE)


def test_a_renewal_ends_a_silence_and_from_then_on_no_other_clock_counts():
    locks, ahead = Locks(), NOW + dt.timedelta(hours=1)
    assert not locks.hear(lock(), 0.0)
    locks.due(0.0, ahead)
    assert locks.hear(lock(SECOND), 1.0)
    assert locks.was_renewed(PLACE)
    assert not locks.hear(lock("2026-11-23T10:00:20+00:00"), 2.0)
    while locks.first_s <= 32.0:
        assert locks.due(locks.first_s, ahead) == []
    assert locks.due(locks.first_s, ahead) == [KEY]


@pytest.mark.parametrize("said", [{"leader": ""}, {"ttl": "x"}])
def test_without_a_holder_or_a_ttl_nothing_is_due(said):
    locks = Locks()
    locks.hear(lock(**said), 0.0)
    assert told(locks, 1000) == []


def test_what_is_gone_is_forgotten():
    locks = Locks()
    locks.hear(lock(), 0.0)
    locks.forget(PLACE)
    assert told(locks, 1000) == []
    assert locks.unchanged_s(PLACE, FIRST, 2.0) == 0.0
    locks.hear(lock(), 50.0)
    assert locks.unchanged_s(PLACE, FIRST, 52.0) == 2.0

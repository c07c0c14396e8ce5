"""When a lock that nobody renews is told of: by this process's clock, once for each thing that follows."""

import datetime as dt

from howdah.controller.locks import Lock, Locks

PLACE, KEY = ("ConfigMap", "ns", "acid-a-leader"), ("ns", "acid-a")
NOW = dt.datetime(2026, 11, 23, 10, 0, tzinfo=dt.UTC)
FIRST, SECOND = "2026-11-23T10:00:00+00:00", "2026-11-23T10:00:10+00:00"


def lock(renewed=FIRST, **annotations):
    said = {"leader": "acid-a-0", "ttl": "30", "renewTime": renewed, **annotations}
    return [Lock(PLACE, KEY, renewed, said)]


def test_a_renewed_lock_is_never_told_of():
    locks = Locks()
    for second in range(0, 300, 10):
        assert locks.look(lock(f"2026-11-23T10:0{second // 60}:{second % 60:02}+00:00"), second, NOW) == []


def test_a_silent_lock_is_told_of_once_for_each_call_that_is_due():
    locks = Locks()
    told = [second for second in range(60) if locks.look(lock(), 100.0 + second, NOW)]
    assert told == [31, 33, 35]


def test_a_renewal_begins_anew():
    locks = Locks()
    locks.look(lock(), 0.0, NOW)
    locks.look(lock(SECOND), 29.0, NOW)
    assert locks.look(lock(SECOND), 50.0, NOW) == []
    assert locks.unchanged_s(PLACE, SECOND, 50.0) == 21.0
    assert locks.unchanged_s(PLACE, FIRST, 50.0) == 0.0
    assert locks.look(lock(SECOND), 60.0, NOW) == [KEY]


def test_a_lock_that_has_been_silent_since_long_before_the_start_is_told_of_at_once():
    assert Locks().look(lock(), 0.0, NOW + dt.timedelta(hours=1)) == [KEY]


def test_what_is_gone_is_forgotten():
    locks = Locks()
    locks.look(lock(), 0.0, NOW)
    locks.look([], 1.0, NOW)
    assert locks.unchanged_s(PLACE, FIRST, 2.0) == 0.0

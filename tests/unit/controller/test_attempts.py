"""A step that failed is not tried again at once, whatever wakes the pass; one that somebody undoes gets slower too."""

import dataclasses

import pytest

from howdah.controller.attempts import FIRST_S, LONGEST_S, QUARREL_S, UNDONE, Attempts
from howdah.core.plan import Delete, ReplacePod

KEY, OTHER = ("ns", "a"), ("ns", "b")
STEP = ReplacePod(reason="r", name="a-1", uid="u", resource_version="1")
ANOTHER = Delete(reason="r", kind="Service", name="a", uid="u")


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_failed_step_is_held_back_and_no_other():
    attempts = Attempts(Clock())
    attempts.failed(KEY, STEP, "403")
    held = attempts.held_back(KEY, STEP)
    assert held is not None
    assert held.error == "403"
    assert attempts.held_back(KEY, ANOTHER) is None
    assert attempts.held_back(OTHER, STEP) is None


def test_the_wait_doubles_up_to_a_minute():
    clock = Clock()
    attempts = Attempts(clock)
    waits = []
    for _ in range(9):
        attempts.failed(KEY, STEP, "e")
        waits.append(attempts.left_s(KEY))
        clock.now_s += waits[-1]
        assert attempts.held_back(KEY, STEP) is None, "its time is over"
    assert waits[:3] == [FIRST_S, FIRST_S * 2, FIRST_S * 4]
    assert waits[-1] == LONGEST_S


def test_another_step_begins_anew():
    attempts = Attempts(Clock())
    for _ in range(4):
        attempts.failed(KEY, STEP, "e")
    attempts.failed(KEY, ANOTHER, "e")
    assert attempts.left_s(KEY) == FIRST_S


def test_a_success_and_the_end_of_a_cluster_forget_it():
    attempts = Attempts(Clock())
    for forget in (lambda: attempts.done(KEY, STEP), lambda: attempts.forget(KEY)):
        attempts.failed(KEY, STEP, "e")
        forget()
        assert attempts.held_back(KEY, STEP) is None
        assert attempts.left_s(KEY) == 0.0


def test_the_success_of_another_step_does_not_make_a_failed_one_sooner():
    attempts = Attempts(Clock())
    attempts.failed(KEY, STEP, "refused")
    attempts.done(KEY, ANOTHER)
    assert attempts.held_back(KEY, STEP) is not None


def test_a_step_that_fails_again_long_after_it_could_have_been_tried_begins_anew():
    clock = Clock()
    attempts = Attempts(clock)
    for _ in range(4):
        attempts.failed(KEY, STEP, "e")
    clock.now_s += attempts.left_s(KEY) + LONGEST_S
    attempts.failed(KEY, STEP, "e")
    assert attempts.left_s(KEY) == FIRST_S


class Undone:
    """A step that somebody undoes at once, and that is done again as soon as it may be."""

    def __init__(self):
        self.clock = Clock()
        self.attempts = Attempts(self.clock)

    def until_it_rests(self):
        for _ in range(50):
            self.attempts.done(KEY, ANOTHER)
            if self.attempts.rests(KEY, ANOTHER):
                return self
            self.clock.now_s += 0.1
        raise AssertionError("it never rests")

    def rest_s(self):
        """How long it rests this time; then it is done, and undone, again."""
        seconds = self.attempts.left_s(KEY)
        self.clock.now_s += seconds
        assert not self.attempts.rests(KEY, ANOTHER)
        self.attempts.done(KEY, ANOTHER)
        return seconds


def test_a_step_that_is_needed_again_and_again_is_a_quarrel_and_no_failure():
    undone = Undone().until_it_rests()
    assert undone.attempts.quarrels(KEY) == ((ANOTHER, UNDONE),)
    assert undone.attempts.held_back(KEY, ANOTHER) is None
    assert not undone.attempts.rests(OTHER, ANOTHER)
    asked_for = dataclasses.replace(ANOTHER, reason="what a person wants now")
    assert not undone.attempts.rests(KEY, asked_for)
    undone.attempts.forget(KEY)
    assert undone.attempts.quarrels(KEY) == ()


def test_a_quarrel_gets_slower_up_to_a_minute():
    undone = Undone().until_it_rests()
    rests = [undone.rest_s() for _ in range(9)]
    assert rests[:4] == [pytest.approx(FIRST_S * 2**n) for n in range(4)]
    assert rests[-1] == pytest.approx(LONGEST_S)


def test_a_quarrel_is_told_of_until_it_is_over():
    """Also after the step was done and before it is undone: a condition that turns twice a second says nothing."""
    undone = Undone().until_it_rests()
    for _ in range(9):
        undone.rest_s()
        assert undone.attempts.quarrels(KEY) != ()
    undone.clock.now_s += undone.attempts.left_s(KEY)
    assert undone.attempts.left_s(KEY) == pytest.approx(QUARREL_S), "then is the time to say that it is over"
    undone.clock.now_s += QUARREL_S + 0.001
    assert undone.attempts.quarrels(KEY) == ()
    assert undone.attempts.left_s(KEY) == 0.0
    undone.attempts.done(KEY, ANOTHER)
    assert not undone.attempts.rests(KEY, ANOTHER), "it begins anew"


def test_a_step_that_is_needed_now_and_then_is_none():
    clock = Clock()
    attempts = Attempts(clock)
    for _ in range(50):
        attempts.done(KEY, ANOTHER)
        clock.now_s += 600.0
        assert not attempts.rests(KEY, ANOTHER)


def test_what_took_long_before_it_failed_rests_for_as_long():
    clock = Clock()
    attempts = Attempts(clock)
    for _ in range(3):
        for _ in range(4):  # passes that find it at work
            attempts.at_work(KEY, STEP)
            clock.now_s += 100.0
        attempts.failed(KEY, STEP, "no space left on device")
        assert attempts.left_s(KEY) == 400.0
        clock.now_s += 400.0
    attempts.at_work(KEY, STEP)
    attempts.done(KEY, STEP)
    clock.now_s += 400.0
    attempts.failed(KEY, STEP, "refused")
    assert attempts.left_s(KEY) == FIRST_S, "another try, which took no time"


def test_steps_that_fail_beside_each_other_have_waits_of_their_own():
    clock = Clock()
    attempts = Attempts(clock)
    for _ in range(3):
        attempts.failed(KEY, STEP, "one")
        attempts.failed(KEY, ANOTHER, "other")
        clock.now_s += attempts.left_s(KEY)
    attempts.failed(KEY, STEP, "one")
    assert attempts.left_s(KEY) == FIRST_S * 8
    attempts.done(KEY, STEP)
    assert attempts.held_back(KEY, STEP) is None
    attempts.failed(KEY, ANOTHER, "other")
    assert attempts.held_back(KEY, ANOTHER) is not None

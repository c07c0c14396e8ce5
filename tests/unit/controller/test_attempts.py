"""A step that failed is not tried again at once, whatever wakes the pass; one that somebody undoes gets slower too."""

from howdah.controller.attempts import FIRST_S, LONGEST_S, Attempts
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
    for forget in (attempts.succeeded, attempts.forget):
        attempts.failed(KEY, STEP, "e")
        forget(KEY)
        assert attempts.held_back(KEY, STEP) is None
        assert attempts.left_s(KEY) == 0.0


def test_a_step_that_is_needed_again_and_again_is_a_quarrel():
    clock = Clock()
    attempts = Attempts(clock)
    for _ in range(50):
        attempts.done(KEY, ANOTHER)
        clock.now_s += 0.1
        if attempts.held_back(KEY, ANOTHER) is not None:
            break
    held = attempts.held_back(KEY, ANOTHER)
    assert held is not None
    assert "somebody else undoes it" in held.error


def test_a_step_that_is_needed_now_and_then_is_none():
    clock = Clock()
    attempts = Attempts(clock)
    for _ in range(50):
        attempts.done(KEY, ANOTHER)
        clock.now_s += 600.0
        assert attempts.held_back(KEY, ANOTHER) is None


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

"""The tests' own clocks: work and waiting go by on them, delays do not."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lifetimes import ended_with_us
from steady import LATE_S, LONGEST_WAIT_S, Clock, SteadyLoop, pause, quickest

TESTS = Path(__file__).parents[1]


class Times:
    """A clock, and the two that it reads."""

    def __init__(self) -> None:
        self.wall, self.worked = 1000.0, 5.0
        self.clock = Clock(lambda: self.wall, lambda: self.worked)
        self.began = self.clock.now()

    def passed(self, wall_s: float, worked_s: float = 0.0, waited_s: float = 0.0) -> float:
        self.wall, self.worked = self.wall + wall_s, self.worked + worked_s
        return self.clock.now(waited_s) - self.began


@pytest.mark.parametrize(
    ("what", "passed", "counted_s"),
    [
        ("work", (2.0, 2.0), 2.0),
        ("waiting", (0.05, 0.0, 0.05), 0.05),
        ("waiting that ended early", (0.03, 0.0, 0.05), 0.03),
        ("a delay of work", (3.0, 1.0), 1.0 + LATE_S),
        ("a delay after waiting", (2.05, 0.0, 0.05), 0.05 + LATE_S),
        ("less than is worth the trouble", (LATE_S / 2, 0.0), LATE_S / 2),
    ],
)
def test_what_goes_by(what: str, passed: tuple[float, ...], counted_s: float) -> None:
    assert Times().passed(*passed) == pytest.approx(counted_s), what


def test_it_never_goes_back() -> None:
    times = Times()
    seen = [times.passed(*passed) for passed in ((1.0, 0.1), (0.0, 0.0), (0.5, 0.7), (2.0, 0.0))]
    assert seen == sorted(seen)


async def test_asynchronous_tests_run_on_it_and_sleep_as_long_as_they_ask() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SteadyLoop)
    before = loop.time()
    await asyncio.sleep(3 * LONGEST_WAIT_S)
    assert loop.time() - before >= 3 * LONGEST_WAIT_S


STOPPED_S = 1.5
LIMITS = f"""
import asyncio
from steady import SteadyLoop

async def main():
    print("ready", flush=True)
    for _ in range(20):
        async with asyncio.timeout({STOPPED_S / 5}):
            await asyncio.sleep(0.05)

with asyncio.Runner(loop_factory=SteadyLoop) as runner:
    runner.run(main())
"""


def test_in_a_process_that_stood_still_what_was_due_first_comes_first() -> None:
    """A moment's sleep ends before a limit that is longer, although the process stands for five such limits."""
    argv = ended_with_us(sys.executable, "-c", LIMITS)
    env = {**os.environ, "PYTHONPATH": str(TESTS)}
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGSTOP)
        time.sleep(STOPPED_S)
        process.send_signal(signal.SIGCONT)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, b"")


def test_a_pause_lasts_at_least_as_long_as_it_says() -> None:
    began = time.monotonic()
    pause(0.1)
    assert time.monotonic() - began >= 0.1


@pytest.mark.parametrize(("took", "fewest"), [((3.0, 0.5, 2.0), 0.5), ((3.0, 4.0, 2.0), 2.0)])
def test_one_quick_try_of_several_is_enough(took: tuple[float, ...], fewest: float) -> None:
    tries = iter(took)
    assert quickest(lambda: next(tries), limit_s=1.0, tries=3) == fewest

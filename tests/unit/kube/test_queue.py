import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise

import looptime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from howdah.kube.queue import WorkQueue

pytestmark = pytest.mark.looptime  # time passes as fast as the test allows


@asynccontextmanager
async def running(queue: WorkQueue[str], worker: Callable[[str], object], concurrency: int = 8) -> AsyncIterator[None]:
    async def work(key: str) -> None:
        result = worker(key)
        if asyncio.iscoroutine(result):
            await result

    task = asyncio.create_task(queue.run(work, concurrency=concurrency))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_burst_is_one_pass() -> None:
    queue, passes = WorkQueue[str](), Counter[str]()
    for _ in range(100):
        queue.add("a")
        queue.add("b")
    assert queue.depth == 2
    async with running(queue, lambda key: passes.update([key])):
        await asyncio.sleep(1)
    assert passes == {"a": 1, "b": 1}
    assert queue.depth == 0


async def test_a_key_added_at_work_gets_one_more_pass_and_never_two_at_once() -> None:
    queue = WorkQueue[str]()
    at_work, most, passes = 0, 0, 0

    async def work(_: str) -> None:
        nonlocal at_work, most, passes
        at_work, passes = at_work + 1, passes + 1
        most = max(most, at_work)
        await asyncio.sleep(1)
        at_work -= 1

    async with running(queue, work):
        queue.add("a")
        await asyncio.sleep(0.5)
        for _ in range(10):
            queue.add("a")
        await asyncio.sleep(5)
    assert (passes, most) == (2, 1)


async def test_a_hanging_key_delays_no_other() -> None:
    queue, done = WorkQueue[str](), list[str]()

    async def work(key: str) -> None:
        if key == "hangs":
            await asyncio.sleep(3600)
        done.append(key)

    async with running(queue, work, concurrency=2):
        queue.add("hangs")
        for n in range(5):
            queue.add(str(n))
        await asyncio.sleep(1)
        assert done == ["0", "1", "2", "3", "4"]


async def test_concurrency_is_a_limit() -> None:
    queue = WorkQueue[str]()
    most = 0

    async def work(_: str) -> None:
        nonlocal most
        most = max(most, queue.working)
        await asyncio.sleep(1)

    async with running(queue, work, concurrency=3):
        for n in range(10):
            queue.add(str(n))
        await asyncio.sleep(10)
    assert most == 3


async def test_of_several_delays_the_earliest_counts() -> None:
    queue, times = WorkQueue[str](), list[float]()
    start = asyncio.get_running_loop().time()
    async with running(queue, lambda _: times.append(asyncio.get_running_loop().time() - start)):
        queue.after("a", 30)
        queue.after("a", 10)
        queue.after("a", 20)
        assert queue.delayed == 1
        await asyncio.sleep(60)
    assert times == pytest.approx([10], abs=0.1)


async def test_a_pass_fulfils_the_earlier_wish_for_a_later_one_and_none_that_is_made_during_it() -> None:
    queue, times = WorkQueue[str](), list[float]()
    start = asyncio.get_running_loop().time()

    async def work(_: str) -> None:
        times.append(asyncio.get_running_loop().time() - start)
        await asyncio.sleep(1)

    async with running(queue, work):
        queue.after("a", 10)
        await asyncio.sleep(5)
        queue.add("a")
        await asyncio.sleep(0.5)
        queue.after("a", 30)
        await asyncio.sleep(60)
    assert times == pytest.approx([5, 35.5], abs=0.1)


async def test_failures_back_off_and_success_forgets_them() -> None:
    errors = list[str]()
    queue = WorkQueue[str](first_retry_s=1, longest_retry_s=60, on_error=lambda key, _: errors.append(key))
    times = list[float]()

    def work(_: str) -> None:
        times.append(asyncio.get_running_loop().time())
        if len(times) < 10:
            raise ValueError("bad")

    async with running(queue, work):
        queue.add("a")
        await asyncio.sleep(3600)
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert len(times) == 10
    assert all(min(2**n, 60) * 0.5 <= wait <= min(2**n, 60) + 0.1 for n, wait in enumerate(waits))
    assert len(errors) == 9
    assert queue.failures("a") == 0


async def test_cancelling_run_cancels_passes_and_waits_for_them() -> None:
    queue, ended = WorkQueue[str](), list[str]()

    async def work(key: str) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(1)
            ended.append(key)

    async with running(queue, work):
        queue.add("a")
        await asyncio.sleep(1)
    assert ended == ["a"]


async def test_the_loop_holds_nothing_of_a_queue_that_has_ended() -> None:
    queue = WorkQueue[str]()
    async with running(queue, lambda key: queue.after(key, 1800)):
        queue.add("a")
        await asyncio.sleep(1)
        assert queue.delayed == 1
    assert queue.delayed == 0


async def test_discarded_key_gets_no_pass() -> None:
    queue, passes = WorkQueue[str](), list[str]()
    queue.add("a")
    queue.after("a", 5)
    queue.add("b")
    queue.discard("a")
    async with running(queue, passes.append):
        await asyncio.sleep(60)
    assert passes == ["b"]


async def test_age_is_that_of_the_longest_waiting_key() -> None:
    queue = WorkQueue[str]()
    assert queue.oldest_age_s == 0
    queue.add("a")
    await asyncio.sleep(2)
    queue.add("b")
    await asyncio.sleep(3)
    assert queue.oldest_age_s == pytest.approx(5, abs=0.1)


@settings(max_examples=40, deadline=None)
@given(
    changes=st.lists(
        st.tuples(st.floats(0, 5), st.sampled_from("abc"), st.sampled_from((0.0, 0.3, 1.0))), min_size=1, max_size=30
    ),
    pass_s=st.floats(0.01, 2),
    fails=st.sets(st.integers(0, 10)),
)
def test_no_change_is_missed(changes: list[tuple[float, str, float]], pass_s: float, fails: set[int]) -> None:
    """After the last change of a key, also of one that waits a moment for others, a pass of it begins and ends well."""

    async def scenario() -> None:
        queue, began_well, passes = WorkQueue[str](first_retry_s=0.1), dict[str, float](), 0
        loop = asyncio.get_running_loop()

        async def work(key: str) -> None:
            nonlocal passes
            passes, began = passes + 1, loop.time()
            await asyncio.sleep(pass_s)
            if passes in fails:
                raise ValueError("bad")
            began_well[key] = began

        last = dict[str, float]()
        async with running(queue, work, concurrency=2):
            for at_s, key, moment_s in sorted(changes):
                await asyncio.sleep(max(0.0, at_s - loop.time()))
                queue.after(key, moment_s)
                last[key] = loop.time()
            await asyncio.sleep(400)
        assert all(began_well[key] >= at for key, at in last.items())
        assert queue.depth == queue.working == queue.delayed == 0

    with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
        runner.get_loop().setup_looptime()  # type: ignore[attr-defined]
        runner.run(scenario())


async def test_in_a_crowd_many_changes_of_a_key_are_few_passes() -> None:
    queue, passes = WorkQueue[str](), Counter[str]()

    async def work(key: str) -> None:
        passes[key] += 1
        await asyncio.sleep(0.02)

    keys = [f"key-{number}" for number in range(100)]
    async with running(queue, work, concurrency=1000):
        for _ in range(100):
            for key in keys:
                queue.add(key)
            await asyncio.sleep(0.01)
        await asyncio.sleep(1)
    assert queue.depth == 0
    assert all(2 <= passes[key] <= 5 for key in keys)  # one for every half second, and one for the last change


async def test_a_key_alone_never_rests() -> None:
    queue, began = WorkQueue[str](), list[float]()

    async with running(queue, lambda _: began.append(asyncio.get_running_loop().time())):
        for _ in range(20):
            queue.add("a")
            await asyncio.sleep(0.01)
    assert len(began) == 20


async def test_a_key_that_rests_and_is_of_no_interest_any_more_gets_no_pass() -> None:
    queue, passes = WorkQueue[str](), Counter[str]()

    async def work(key: str) -> None:
        passes[key] += 1
        await asyncio.sleep(0.05 if key == "b" else 0.01)

    async with running(queue, work):
        queue.add("a")
        queue.add("b")
        await asyncio.sleep(0.012)  # a rests, for b is at work
        queue.add("a")
        queue.discard("a")
        await asyncio.sleep(1)
    assert passes == {"a": 1, "b": 1}
    assert queue.depth == 0

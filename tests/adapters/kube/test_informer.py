import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from howdah.kube.client import Client
from howdah.kube.errors import Forbidden, Unreachable
from howdah.kube.informer import Informer, ObjectMetadata, PartialObject, Unread
from howdah.kube.resources import CONFIGMAPS, PODS
from howdah.kube.testing import FakeKubernetes
from steady import HANGS_S


class ConfigMap(msgspec.Struct, frozen=True):
    metadata: ObjectMetadata
    data: dict[str, str] | None = None


Seen = list[tuple[dict[str, str] | None, dict[str, str] | None]]
Marked = list[tuple[Unread | None, Unread | None]]


def marking(marked: Marked) -> Callable[[Informer[ConfigMap], Unread | None, Unread | None], None]:
    return lambda _, old, new: marked.append((old, new))


def config_map(name: str, labels: dict[str, str] | None = None, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "team", "labels": labels or {}}, "data": data}


def data_of(obj: ConfigMap) -> dict[str, str] | None:
    return obj.data


async def eventually(holds: Callable[[], bool], timeout_s: float = HANGS_S) -> None:
    async with asyncio.timeout(timeout_s):
        while not holds():
            await asyncio.sleep(0.01)


def watches(kube: FakeKubernetes) -> list[str]:
    return [request.params["resourceVersion"] for request in kube.requests if request.verb == "watch"]


@asynccontextmanager
async def informing(client: Client, seen: Seen | None = None, **settings: Any) -> AsyncIterator[Informer[ConfigMap]]:
    def note(old: ConfigMap | None, new: ConfigMap | None) -> None:
        if seen is not None:
            seen.append((old.data if old else None, new.data if new else None))

    informer = Informer(client, CONFIGMAPS, ConfigMap, significant=data_of, on_change=note, **settings)
    task = asyncio.create_task(informer.run())
    try:
        await asyncio.wait_for(informer.synced.wait(), HANGS_S)
        await eventually(lambda: informer.watching)
        yield informer
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_changes_are_told_in_order_with_the_last_state_of_what_went(kube: FakeKubernetes, client: Client) -> None:
    seen: Seen = []
    kube.store.seed(CONFIGMAPS, config_map("before", x="0"))
    async with informing(client, seen) as informer:
        await client.create(CONFIGMAPS, config_map("a", x="1"))
        await client.merge_patch(CONFIGMAPS, "a", {"data": {"x": "2"}}, namespace="team")
        await client.delete(CONFIGMAPS, "a", namespace="team")
        await eventually(lambda: len(seen) == 4)
        assert len(informer) == 1
    assert seen == [(None, {"x": "0"}), (None, {"x": "1"}), ({"x": "1"}, {"x": "2"}), ({"x": "2"}, None)]


async def test_what_the_caller_does_not_use_is_no_change_but_is_held(client: Client) -> None:
    seen: Seen = []
    async with informing(client, seen) as informer:
        await client.create(CONFIGMAPS, config_map("a", x="1"))
        for n in range(20):
            patch = {"metadata": {"annotations": {"position": str(n)}}}
            await client.merge_patch(CONFIGMAPS, "a", patch, namespace="team")
        await eventually(lambda: informer.counts.events == 21)
        held = informer.get("team", "a")
        assert held is not None
        assert held.metadata.annotations == {"position": "19"}
    assert seen == [(None, {"x": "1"})]


async def test_every_state_that_comes_is_seen_also_where_nothing_significant_changed(client: Client) -> None:
    positions: list[str] = []

    def see(informer: Informer[ConfigMap], new: ConfigMap) -> None:
        assert informer.resource is CONFIGMAPS
        positions.append((new.metadata.annotations or {}).get("position", ""))

    async with informing(client, on_seen=see):
        await client.create(CONFIGMAPS, config_map("a", x="1"))
        for n in range(3):
            patch = {"metadata": {"annotations": {"position": str(n)}}}
            await client.merge_patch(CONFIGMAPS, "a", patch, namespace="team")
        await eventually(lambda: len(positions) == 4)
    assert positions == ["", "0", "1", "2"]


async def test_indexes_follow_changes(client: Client) -> None:
    by_x = {"x": lambda obj: [(obj.data or {}).get("x")]}
    async with informing(client, indexes=by_x) as informer:
        for name, x in (("b", "1"), ("a", "1"), ("c", "2")):
            await client.create(CONFIGMAPS, config_map(name, x=x))
        await eventually(lambda: len(informer) == 3)
        assert [obj.metadata.name for obj in informer.by_index("x", "1")] == ["a", "b"]
        await client.merge_patch(CONFIGMAPS, "a", {"data": {"x": "2"}}, namespace="team")
        await client.delete(CONFIGMAPS, "b", namespace="team")
        await eventually(lambda: len(informer) == 2 and not informer.by_index("x", "1"))
        assert [obj.metadata.name for obj in informer.by_index("x", "2")] == ["a", "c"]
        assert informer.index_keys("x") == ("2",)


async def test_objects_come_and_go_with_the_selector(client: Client) -> None:
    seen: Seen = []
    async with informing(client, seen, labels="app=pg") as informer:
        await client.create(CONFIGMAPS, config_map("a", x="1"))
        label = {"metadata": {"labels": {"app": "pg"}}}
        await client.merge_patch(CONFIGMAPS, "a", label, namespace="team")
        await eventually(lambda: len(informer) == 1)
        await client.merge_patch(CONFIGMAPS, "a", {"metadata": {"labels": {"app": None}}}, namespace="team")
        await eventually(lambda: len(informer) == 0)
    assert seen == [(None, {"x": "1"}), ({"x": "1"}, None)]


async def test_after_410_the_new_list_tells_what_was_missed(kube: FakeKubernetes, client: Client) -> None:
    seen: Seen = []
    kube.store.seed(CONFIGMAPS, config_map("gone", x="0"), config_map("changed", x="0"), config_map("same", x="0"))
    async with informing(client, seen) as informer:
        seen.clear()
        kube.fail_next(0, verb="watch")
        kube.end_watches()
        await asyncio.sleep(0.05)
        await client.delete(CONFIGMAPS, "gone", namespace="team")
        await client.merge_patch(CONFIGMAPS, "changed", {"data": {"x": "1"}}, namespace="team")
        await client.create(CONFIGMAPS, config_map("new", x="0"))
        kube.expire()
        await eventually(lambda: len(seen) == 3)
        assert informer.counts.lists == 2
    assert sorted(seen, key=str) == [(None, {"x": "0"}), ({"x": "0"}, None), ({"x": "0"}, {"x": "1"})]


async def test_410_inside_the_stream_lists_anew(kube: FakeKubernetes, client: Client) -> None:
    async with informing(client) as informer:
        kube.expire(in_streams=True)
        await client.create(CONFIGMAPS, config_map("a"))
        await eventually(lambda: informer.get("team", "a") is not None)
        assert informer.counts.lists == 2


async def test_a_cut_or_ended_stream_is_resumed_without_a_list(kube: FakeKubernetes, client: Client) -> None:
    async with informing(client) as informer:
        for n, break_off in enumerate((kube.cut_watches, kube.end_watches)):
            break_off()
            await client.create(CONFIGMAPS, config_map(f"a{n}"))
            await eventually(lambda: len(informer) == n + 1)  # noqa: B023 - awaited within the round
        assert informer.counts.lists == 1


async def test_a_silent_stream_is_given_up_and_bookmarks_keep_it(kube: FakeKubernetes, client: Client) -> None:
    async with informing(client, idle_s=0.3) as informer:
        for _ in range(4):
            await asyncio.sleep(0.15)
            kube.bookmark()
        assert informer.counts.watches == 1
        assert informer.staleness_s() < 0.3
        await eventually(lambda: informer.counts.watches == 2)
        assert informer.counts.lists == 1


async def test_a_stream_that_is_made_anew_at_once_was_not_broken(kube: FakeKubernetes, client: Client) -> None:
    async with informing(client) as informer:
        begun = asyncio.get_running_loop().time() - informer.unbroken_s()
        for again in (kube.end_watches, kube.cut_watches):
            kube.bookmark()
            await asyncio.sleep(0.05)
            again()
            await eventually(lambda: not informer.watching)
            assert informer.unbroken_s() > 0
            await eventually(lambda: informer.watching)
        assert informer.unbroken_s() == pytest.approx(asyncio.get_running_loop().time() - begun, abs=0.01)


async def test_what_may_have_been_missed_is_not_counted_as_seen(kube: FakeKubernetes, client: Client) -> None:
    async with informing(client, longest_delay_s=0.1, blink_s=0.3) as informer:
        assert informer.unbroken_s() > 0
        await kube.stop()
        await eventually(lambda: informer.unbroken_s() == 0)
        await kube.start()
        back = asyncio.get_running_loop().time()
        await eventually(lambda: informer.watching)
        assert 0 < informer.unbroken_s() <= asyncio.get_running_loop().time() - back


async def test_a_stream_on_which_nothing_came_may_have_been_dead_since_the_last_word(
    kube: FakeKubernetes, client: Client
) -> None:
    async with informing(client, idle_s=0.6, blink_s=0.3) as informer:
        await eventually(lambda: informer.counts.watches == 2 and informer.watching)
        assert informer.unbroken_s() < 0.3
        assert informer.counts.lists == 1


async def test_bookmark_moves_the_version_on(kube: FakeKubernetes, client: Client) -> None:
    async with informing(client):
        await client.create(PODS, {"metadata": {"name": "other-kind", "namespace": "team"}})
        kube.bookmark()
        await asyncio.sleep(0.1)
        kube.end_watches()
        await eventually(lambda: len(watches(kube)) == 2)
        first, second = watches(kube)
        assert int(second) > int(first)


async def test_a_server_that_is_away_is_waited_for(kube: FakeKubernetes, client: Client) -> None:
    async with informing(client, longest_delay_s=0.3) as informer:
        await kube.stop()
        await eventually(lambda: isinstance(informer.last_error, Unreachable))
        await asyncio.sleep(1)
        kube.store.seed(CONFIGMAPS, config_map("meanwhile"))
        await kube.start()
        await eventually(lambda: informer.get("team", "meanwhile") is not None)
        assert informer.last_error is None


@pytest.mark.parametrize(
    "misbehave",
    [
        lambda kube: kube.end_watches(),
        lambda kube: kube.cut_watches(),
        lambda kube: kube.expire(),
    ],
    ids=["ends each stream at once", "cuts each stream at once", "answers 410 to each stream"],
)
async def test_a_misbehaving_server_is_not_asked_in_a_hot_loop(
    kube: FakeKubernetes, client: Client, misbehave: Callable[[FakeKubernetes], None]
) -> None:
    async with informing(client):
        kube.requests.clear()
        async with asyncio.TaskGroup() as group:

            async def bother() -> None:
                for _ in range(150):
                    misbehave(kube)
                    await asyncio.sleep(0.01)

            group.create_task(bother())
        assert 2 <= len(kube.requests) <= 12


async def test_passing_403_does_not_end_it(kube: FakeKubernetes, client: Client) -> None:
    kube.fail_next(403, "Forbidden", verb="list", times=2)
    async with informing(client) as informer:
        assert informer.counts.failures == 2


async def test_a_refusal_is_over_when_a_stream_opens_and_not_before(kube: FakeKubernetes, client: Client) -> None:
    kube.fail_next(403, "Forbidden", verb="list", times=1000)
    informer = Informer(client, CONFIGMAPS, ConfigMap, namespace="team", longest_delay_s=0.1)
    task = asyncio.create_task(informer.run())
    await eventually(lambda: informer.denied is not None)
    kube.faults.clear()
    kube.fail_next(503, verb="watch", times=1000)
    await eventually(lambda: informer.synced.is_set() and not isinstance(informer.last_error, Forbidden))
    assert informer.denied is not None
    kube.faults.clear()
    await eventually(lambda: informer.watching)
    assert informer.denied is None
    task.cancel()
    await asyncio.wait([task])


async def test_a_kind_that_need_not_be_seen_is_asked_for_seldom(kube: FakeKubernetes, client: Client) -> None:
    kube.fail_next(403, "Forbidden", verb="list", times=1000)
    informers = [
        Informer(client, CONFIGMAPS, ConfigMap, namespace="team", longest_delay_s=0.3, forbidden_delay_s=delay_s)
        for delay_s in (None, 60.0)
    ]
    tasks = [asyncio.create_task(informer.run()) for informer in informers]
    await eventually(lambda: informers[0].counts.lists >= 5)
    assert informers[1].counts.lists == 2, "again soon, for the right may have been given a moment ago; then seldom"
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_a_malformed_object_is_marked_and_the_others_go_on(kube: FakeKubernetes, client: Client) -> None:
    seen: Seen = []
    kube.store.seed(CONFIGMAPS, config_map("bad", x="0"), config_map("good", x="0"))
    bad = b'{"metadata":{"name":"bad","namespace":"team","resourceVersion":"9"},"data":{"x":1}}'
    marked: Marked = []
    kube.spoil(CONFIGMAPS, "team", "bad", bad)
    async with informing(client, seen, on_malformed=marking(marked)) as informer:
        assert list(informer.malformed) == [("team", "bad")]
        assert "$.data" in informer.malformed["team", "bad"].why
        assert informer.keys() == (("team", "good"),)
        await client.merge_patch(CONFIGMAPS, "bad", {"data": {"x": "1"}}, namespace="team")
        await client.merge_patch(CONFIGMAPS, "good", {"data": {"x": "1"}}, namespace="team")
        await eventually(lambda: ({"x": "0"}, {"x": "1"}) in seen)
        kube.spoil(CONFIGMAPS, "team", "bad", None)
        await client.merge_patch(CONFIGMAPS, "bad", {"data": {"x": "2"}}, namespace="team")
        await eventually(lambda: not informer.malformed)
        assert informer.counts.lists == 1
    assert [(old and old.key, new and new.key) for old, new in marked] == [
        (None, ("team", "bad")),
        (("team", "bad"), None),
    ], "told once of one reason, however many states come"
    assert seen[-1] == (None, {"x": "2"})


async def test_an_object_replaced_under_its_name_is_told_as_gone_and_new(kube: FakeKubernetes, client: Client) -> None:
    seen: Seen = []
    kube.store.seed(CONFIGMAPS, config_map("a", x="1"))
    async with informing(client, seen):
        kube.fail_next(0, verb="watch", times=2)
        kube.cut_watches()
        await client.delete(CONFIGMAPS, "a", namespace="team")
        await client.create(CONFIGMAPS, config_map("a", x="1"))
        kube.expire()
        await eventually(lambda: len(seen) == 3)
    assert seen == [(None, {"x": "1"}), ({"x": "1"}, None), (None, {"x": "1"})]


async def test_metadata_alone_is_enough(kube: FakeKubernetes, client: Client) -> None:
    kube.store.seed(CONFIGMAPS, config_map("a", labels={"app": "pg"}, secret="hunter2"))
    informer = Informer(client, CONFIGMAPS, PartialObject, metadata_only=True)
    task = asyncio.create_task(informer.run())
    await asyncio.wait_for(informer.synced.wait(), HANGS_S)
    assert [obj.metadata.labels for obj in informer] == [{"app": "pg"}]
    task.cancel()


@pytest.mark.parametrize("broken", ["significant", "on_change", "on_seen", "indexes"])
async def test_a_bug_at_one_object_is_told_and_the_others_go_on(
    kube: FakeKubernetes, client: Client, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    kube.store.seed(CONFIGMAPS, config_map("good", x="0"), config_map("odd", labels={"app": "pg"}, x="0"))
    marked: Marked = []

    def fails_at(obj: ConfigMap | None) -> ConfigMap | None:
        if obj is not None and obj.metadata.name == "odd" and obj.data == {"x": "1"}:
            raise ZeroDivisionError
        return obj

    functions: dict[str, Any] = {
        "significant": fails_at,
        "on_change": lambda _old, new: fails_at(new),
        "on_seen": lambda _informer, new: fails_at(new),
        "indexes": {"x": lambda obj: [(fails_at(obj).data or {}).get("x")]},
    }
    told: Any = {"significant": data_of, "on_malformed": marking(marked), broken: functions[broken]}
    informer = Informer(client, CONFIGMAPS, ConfigMap, **told)
    task = asyncio.create_task(informer.run())
    await asyncio.wait_for(informer.synced.wait(), HANGS_S)
    for n in range(3):
        patch = {"metadata": {"annotations": {"position": str(n)}}, "data": {"x": "1"}}
        await client.merge_patch(CONFIGMAPS, "odd", patch, namespace="team")
        await client.merge_patch(CONFIGMAPS, "good", patch, namespace="team")
    await eventually(lambda: informer.counts.events == 6)
    assert marked == [(None, Unread(("team", "odd"), {"app": "pg"}, "it cannot be handled (ZeroDivisionError)"))]
    assert list(informer.malformed) == [("team", "odd")]
    assert "ConfigMap team/odd cannot be handled" in caplog.text
    good = informer.get("team", "good")
    assert good is not None
    assert good.data == {"x": "1"}
    await client.merge_patch(CONFIGMAPS, "odd", {"data": {"x": "2"}}, namespace="team")
    await eventually(lambda: not informer.malformed)
    odd = informer.get("team", "odd")
    assert odd is not None
    assert odd.data == {"x": "2"}
    assert informer.counts.lists == 1
    task.cancel()
    await asyncio.wait([task])


async def test_a_bug_at_an_object_that_goes_leaves_the_others(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    def broken(_old: object, new: object) -> None:
        if new is None:
            raise ZeroDivisionError

    informer = Informer(client, CONFIGMAPS, ConfigMap, on_change=broken)
    task = asyncio.create_task(informer.run())
    await client.create(CONFIGMAPS, config_map("a"))
    await eventually(lambda: len(informer) == 1)
    await client.delete(CONFIGMAPS, "a", namespace="team")
    await client.create(CONFIGMAPS, config_map("b"))
    await eventually(lambda: informer.keys() == (("team", "b"),))
    assert "ConfigMap team/a cannot be handled" in caplog.text
    assert not informer.malformed
    task.cancel()
    await asyncio.wait([task])


async def test_a_bug_of_the_cache_itself_is_told_and_it_begins_anew(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_informer: object, _old: object, _new: object) -> None:
        raise ZeroDivisionError

    informer = Informer(
        client, CONFIGMAPS, ConfigMap, significant=lambda obj: 1 // len(obj.data or {}), on_malformed=broken
    )
    task = asyncio.create_task(informer.run())
    await asyncio.wait_for(informer.synced.wait(), HANGS_S)
    await client.create(CONFIGMAPS, config_map("a", x="1"))
    await client.merge_patch(CONFIGMAPS, "a", {"data": {"x": None}}, namespace="team")
    await eventually(lambda: informer.counts.lists >= 2)
    assert "the cache of configmaps failed by a bug" in caplog.text
    assert informer.counts.failures >= 1
    task.cancel()
    await asyncio.wait([task])


DEEP = b'{"a":' * 5000 + b"1" + b"}" * 5000


def deep(name: str, part: bytes = DEEP, labels: bytes = b'{"app":"pg"}') -> bytes:
    metadata = b'{"name":"%s","namespace":"team","resourceVersion":"9","labels":%s}' % (name.encode(), labels)
    return b'{"metadata":%s,"spec":%s}' % (metadata, part)


async def test_what_is_nested_too_deeply_to_be_skipped_hides_nothing_else(kube: FakeKubernetes, client: Client) -> None:
    kube.store.seed(CONFIGMAPS, config_map("before", x="0"), config_map("deep"), config_map("last", x="0"))
    kube.spoil(CONFIGMAPS, "team", "deep", deep("deep"))
    async with informing(client) as informer:
        assert sorted(informer.keys()) == [("team", "before"), ("team", "last")]
        assert list(informer.malformed) == [("team", "deep")]
        found = informer.malformed["team", "deep"]
        assert found.labels == {"app": "pg"}
        assert "recursion" in found.why
        kube.spoil(CONFIGMAPS, "team", "before", deep("before"))
        await client.merge_patch(CONFIGMAPS, "before", {"data": {"x": "1"}}, namespace="team")
        await client.merge_patch(CONFIGMAPS, "last", {"data": {"x": "1"}}, namespace="team")
        await eventually(lambda: informer.counts.events == 2)
        last, before = informer.get("team", "last"), informer.get("team", "before")
        assert last is not None
        assert last.data == {"x": "1"}
        assert before is not None
        assert before.data == {"x": "0"}, "its last good state"
        assert sorted(informer.malformed) == [("team", "before"), ("team", "deep")]
        await client.delete(CONFIGMAPS, "deep", namespace="team")
        await client.delete(CONFIGMAPS, "before", namespace="team")
        await eventually(lambda: not informer.malformed)
        assert informer.counts.lists == 1
        assert informer.counts.failures == 0


async def test_the_end_of_what_could_never_be_read_is_told(kube: FakeKubernetes, client: Client) -> None:
    kube.store.seed(CONFIGMAPS, config_map("deep"))
    kube.spoil(CONFIGMAPS, "team", "deep", deep("deep"))
    marked: Marked = []
    async with informing(client, on_malformed=marking(marked)) as informer:
        (_, unread), *_ = marked
        await client.delete(CONFIGMAPS, "deep", namespace="team")
        await eventually(lambda: len(marked) == 2)
        assert marked[1] == (unread, None)
        assert not informer.malformed


async def test_a_reset_forgets_all_and_tells_of_each(kube: FakeKubernetes, client: Client) -> None:
    kube.store.seed(CONFIGMAPS, config_map("a", x="1"), config_map("deep"))
    kube.spoil(CONFIGMAPS, "team", "deep", deep("deep"))
    seen: Seen = []
    marked: Marked = []
    informer = Informer(
        client,
        CONFIGMAPS,
        ConfigMap,
        indexes={"x": lambda obj: [(obj.data or {}).get("x")]},
        on_change=lambda old, new: seen.append((old and old.data, new and new.data)),
        on_malformed=marking(marked),
    )
    for lists in (1, 2):
        task = asyncio.create_task(informer.run())
        await asyncio.wait_for(informer.synced.wait(), HANGS_S)
        assert (informer.keys(), list(informer.malformed)) == ((("team", "a"),), [("team", "deep")])
        task.cancel()
        await asyncio.wait([task])
        informer.reset()
        assert (informer.keys(), informer.malformed, informer.index_keys("x")) == ((), {}, ())
        assert not informer.synced.is_set()
        assert informer.counts.lists == lists, "the version that it had seen is none to go on from"
    assert seen == [(None, {"x": "1"}), ({"x": "1"}, None)] * 2
    assert [(old is None, new is None) for old, new in marked] == [(True, False), (False, True)] * 2


async def test_labels_that_cannot_be_read_are_told_as_unknown(kube: FakeKubernetes, client: Client) -> None:
    kube.store.seed(CONFIGMAPS, config_map("a"))
    kube.spoil(CONFIGMAPS, "team", "a", deep("a", b"{}", labels=b'{"app":1}'))
    async with informing(client) as informer:
        assert informer.malformed["team", "a"].labels is None


@pytest.mark.parametrize("seed", range(6))
async def test_the_copy_is_true_after_any_mix_of_changes_and_faults(
    kube: FakeKubernetes, client: Client, seed: int
) -> None:
    chance = random.Random(seed)
    told: dict[str, dict[str, str] | None] = {}
    faults = (kube.cut_watches, kube.end_watches, kube.expire, kube.bookmark, lambda: kube.fail_next(503, verb="watch"))

    def note(old: ConfigMap | None, new: ConfigMap | None) -> None:
        name = (new or old).metadata.name  # type: ignore[union-attr]
        assert told.get(name) == (old.data if old else None)
        told[name] = new.data if new else None

    informer = Informer(client, CONFIGMAPS, ConfigMap, significant=data_of, on_change=note, longest_delay_s=0.1)
    task = asyncio.create_task(informer.run())
    for step in range(150):
        name = f"n{chance.randrange(8)}"
        existing = kube.store.find(CONFIGMAPS, "team", name)
        if existing is None:
            await client.create(CONFIGMAPS, config_map(name, step=str(step)))
        elif chance.random() < 0.4:
            await client.delete(CONFIGMAPS, name, namespace="team")
        else:
            await client.merge_patch(CONFIGMAPS, name, {"data": {"step": str(step)}}, namespace="team")
        if chance.random() < 0.15:
            chance.choice(faults)()
        await asyncio.sleep(chance.choice((0, 0, 0.01)))
    kube.faults.clear()

    def truth() -> dict[str, Any]:
        listing = kube.store.select(CONFIGMAPS, None, lambda _: True)
        return {obj["metadata"]["name"]: obj["data"] for obj in listing}

    await eventually(lambda: {obj.metadata.name: obj.data for obj in informer} == truth())
    assert {name: data for name, data in told.items() if data is not None} == truth()
    assert not task.done()
    task.cancel()

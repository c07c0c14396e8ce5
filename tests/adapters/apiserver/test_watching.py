"""Watches: what comes, in which order, in which form."""

from __future__ import annotations

from adapters.apiserver.client import TABLE, Client, Server, config_map


def test_changes_come_in_order_from_the_version_of_the_list(api: Client, core: str) -> None:
    path = f"{core}/configmaps"
    version = api.get(path).version
    watch = api.watch(f"{path}?watch=True&resourceVersion={version}")
    api.post(path, config_map("a"))
    api.patch(f"{path}/a", {"data": {"k": "v"}})
    api.delete(f"{path}/a")
    assert watch.events(3) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
    watch.close()


def test_missed_changes_come_first(api: Client, core: str) -> None:
    path = f"{core}/configmaps"
    version = api.get(path).version
    api.post(path, config_map("a"))
    api.delete(f"{path}/a")
    watch = api.watch(f"{path}?watch=1&resourceVersion={version}")
    events = [watch.next(), watch.next()]
    assert [event["type"] for event in events] == ["ADDED", "DELETED"]
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert versions[0] < versions[1]
    watch.close()


def test_object_entering_and_leaving_a_selector_is_added_and_deleted(api: Client, core: str) -> None:
    path = f"{core}/configmaps"
    version = api.post(path, config_map("a", labels={"role": "replica"})).version
    watch = api.watch(f"{path}?watch=1&labelSelector=role%3Dleader&resourceVersion={version}")
    api.patch(f"{path}/a", {"metadata": {"labels": {"role": "leader"}}})
    left = api.patch(f"{path}/a", {"metadata": {"labels": {"role": "replica"}}})
    assert watch.next()["type"] == "ADDED"
    gone = watch.next()
    assert (gone["type"], gone["object"]["metadata"]["labels"]) == ("DELETED", {"role": "leader"})
    assert gone["object"]["metadata"]["resourceVersion"] == left.version
    watch.close()


def test_watch_without_a_version_starts_with_what_is_there(api: Client, core: str) -> None:
    path = f"{core}/configmaps"
    for name in ("b", "a"):
        api.post(path, config_map(name))
    watch = api.watch(f"{path}?watch=1")
    assert watch.events(2) == [("ADDED", "a"), ("ADDED", "b")]
    watch.close()


def test_initial_events_end_with_a_marked_bookmark(api: Client, core: str) -> None:
    path = f"{core}/configmaps"
    api.post(path, config_map("a"))
    query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    watch = api.watch(f"{path}?{query}")
    assert watch.events(1) == [("ADDED", "a")]
    end = watch.next()
    assert end["type"] == "BOOKMARK"
    assert end["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    watch.close()


def test_time_out_ends_the_stream_cleanly(api: Client, core: str) -> None:
    version = api.get(f"{core}/configmaps").version
    watch = api.watch(f"{core}/configmaps?watch=1&timeoutSeconds=1&resourceVersion={version}")
    assert watch.next() is None


def test_too_old_version_is_410_inside_the_stream(api: Client, core: str) -> None:
    path = f"{core}/configmaps"
    api.post(path, config_map("a"))
    old = api.get(path).version
    for number in range(510):
        api.patch(f"{path}/a", {"data": {"n": str(number)}})
    event = api.watch(f"{path}?watch=1&resourceVersion={old}").next()
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)


def test_rows_come_where_a_table_is_asked(api: Client, core: str) -> None:
    path = f"{core}/configmaps"
    api.post(path, config_map("a", {"k": "v"}))
    watch = api.watch(f"{path}?watch=1", Accept=TABLE)
    event = watch.next()
    assert event["object"]["kind"] == "Table"
    assert event["object"]["rows"][0]["cells"][:2] == ["a", 1]
    watch.close()


def test_one_object_is_watched_by_name(api: Client, core: str) -> None:
    path = f"{core}/configmaps"
    version = api.get(path).version
    watch = api.watch(f"{path}?watch=1&fieldSelector=metadata.name%3Db&resourceVersion={version}")
    api.post(path, config_map("a"))
    api.post(path, config_map("b"))
    assert watch.events(1) == [("ADDED", "b")]
    watch.close()


def test_server_ends_promptly_with_open_watches(own_server: Server) -> None:
    watch = own_server.client().watch("/api/v1/pods?watch=1")
    assert own_server.stop() == 0
    watch.close()

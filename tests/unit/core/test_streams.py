"""Streams: what the section means, and in which order slots, publications and objects come and go."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from howdah.core.alignment import differences
from howdah.core.deletion import deletion_policy, plan_deletion
from howdah.core.facts import facts_version, live_facts
from howdah.core.objects.build import build
from howdah.core.plan import AnnotateResource, Apply, Create, Delete, PatchDynamicConfiguration
from howdah.core.planners import decide, dynamic_configuration
from howdah.core.request.asked import LiveFacts, LiveStream
from howdah.core.resolve import References, resolve, roles_and_databases
from howdah.core.situation import Situation
from howdah.core.streams import event_streams, stream_problem
from howdah.model import names
from howdah.model.cluster import Cluster, StreamLink
from howdah.model.settings import default_settings, settings_from_configmap
from unit.core.clusters import NAME, QUIET, leader, live, manifest, pod, resource, situation, three

Json = dict[str, Any]
SHOP: Json = {
    "applicationId": "my-app",
    "database": "shop",
    "tables": {"orders": {"eventType": "ordered"}, "data.items": {"eventType": "packed"}},
}
SLOT = "fes_shop_my_app"
LOGICAL = {"database": "shop", "plugin": "pgoutput", "type": "logical"}
WAL = {"postgresql": {"parameters": {"wal_level": "logical"}}}
PUBLISHED = replace(QUIET, publications=frozenset({("shop", SLOT)}))
SETTINGS = settings_from_configmap({"enable_master_load_balancer": "false"})[0]


def asked(*streams: Json, facts: LiveFacts | None = None, **spec: Any) -> Cluster:
    return resolve(manifest(streams=list(streams), **spec), SETTINGS, References(), facts or LiveFacts())


def objects(cluster: Cluster) -> list[Json]:
    return [body for body in build(cluster) if body["kind"] == names.STREAM_KIND]


def flow(table: Json | None = None, **stream: Any) -> Json:
    written = {**SHOP, "tables": {"orders": {"eventType": "ordered", **(table or {})}}, **stream}
    (body,) = objects(asked(written))
    (found,) = body["spec"]["eventStreams"]
    return dict(found)


# --- what the section means --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stream", "table", "recovery"),
    [
        ({}, {}, {"type": "None"}),
        ({"enableRecovery": False}, {"recoveryEventType": "lost"}, {"type": "None"}),
        ({"enableRecovery": True}, {"ignoreRecovery": True}, {"type": "Ignore"}),
        ({"enableRecovery": True}, {}, "ordered-dead-letter-queue"),
        ({"enableRecovery": True}, {"recoveryEventType": "lost"}, "lost"),
        ({}, {"recoveryEventType": "lost"}, "lost"),
        ({}, {"recoveryEventType": "lost", "ignoreRecovery": True}, {"type": "Ignore"}),
    ],
)
def test_what_happens_to_events_that_fail(stream: Json, table: Json, recovery: Any) -> None:
    if isinstance(recovery, str):
        recovery = {"type": "DeadLetter", "sink": {"type": "Nakadi", "eventType": recovery}}
    assert flow(table, **stream)["recovery"] == recovery


def test_entries_of_one_application_are_one_object_with_the_largest_amounts() -> None:
    other = {**SHOP, "database": "stock", "cpu": "1", "memory": "1Gi"}
    cluster = asked({**SHOP, "cpu": "250m", "memory": "2Gi"}, other, {**SHOP, "applicationId": "second"})
    first, second = objects(cluster)
    assert first["metadata"]["annotations"] == {names.STREAM_CPU: "1", names.STREAM_MEMORY: "2Gi"}
    slots = [f["source"]["jdbcConnection"]["slotName"] for f in first["spec"]["eventStreams"]]
    assert slots == [SLOT, SLOT, "fes_stock_my_app", "fes_stock_my_app"]
    assert second["spec"]["applicationId"] == "second"
    assert first["metadata"]["name"] != second["metadata"]["name"]
    assert [o["metadata"]["name"] for o in objects(cluster)] == [o["metadata"]["name"] for o in objects(cluster)]


def test_tables_of_one_slot_from_several_entries_are_one_publication() -> None:
    cluster = asked(SHOP, {**SHOP, "tables": {"public.orders": {"eventType": "x"}, "more": {"eventType": "y"}}})
    (stream,) = cluster.streams.of_applications
    tables = (("data", "items"), ("public", "more"), ("public", "orders"))
    assert stream.links == (StreamLink("shop", SLOT, tables),)


def test_the_role_and_its_secret_and_the_wal_level_come_with_the_section() -> None:
    cluster = asked(SHOP, postgresql={"version": "18", "parameters": {"wal_level": "replica"}})
    role = next(r for r in roles_and_databases(cluster.access, cluster.names).roles if r.name == "fes_user")
    assert (role.flags.login, role.flags.replication) == (True, True)
    assert "fes-user.acid-a.credentials.postgresql.acid.zalan.do" in {s.name for s in cluster.secrets}
    assert cluster.dynamic["postgresql"]["parameters"]["wal_level"] == "logical"
    without = asked()
    assert "fes_user" not in {s.username for s in without.secrets}
    assert "postgresql" not in without.dynamic


def test_a_user_of_the_manifest_cannot_be_the_role_of_streams() -> None:
    cluster = asked(SHOP, users={"fes_user": ["superuser"]})
    role = next(r for r in roles_and_databases(cluster.access, cluster.names).roles if r.name == "fes_user")
    assert role.flags.superuser is None
    assert any(w.path == "spec.users.fes_user" for w in cluster.warnings)


def test_a_slot_name_that_is_too_long_becomes_a_digest() -> None:
    assert names.stream_slot("shop", "my-app") == SLOT
    long = names.stream_slot("d" * 40, "a" * 40)
    assert len(long) == 44
    assert long != names.stream_slot("d" * 40, "b" * 40)


@pytest.mark.parametrize(
    ("entries", "path", "words"),
    [
        ([{**SHOP, "applicationId": "My App"}], "spec.streams[0]", "cannot name a replication slot"),
        ([SHOP, {**SHOP, "applicationId": "my_app"}], "spec.streams[1]", "would share the replication slot"),
        ([{**SHOP, "tables": {"a.b.c": {"eventType": "e"}}}], "spec.streams[0]", "does not name a table"),
    ],
)
def test_an_entry_that_cannot_work_is_left_out_with_a_warning(entries: list[Json], path: str, words: str) -> None:
    cluster = asked(*entries)
    assert [w.path for w in cluster.warnings if words in w.message] == [path]
    assert len(cluster.streams.of_applications) == len(entries) - 1


def test_without_the_kind_in_kubernetes_nothing_is_made_that_keeps_wal_and_it_is_said() -> None:
    cluster = asked(SHOP, facts=LiveFacts(serves_event_streams=False))
    assert objects(cluster) == []
    assert cluster.access.publications == ()
    assert any("does not serve FabricEventStream" in w.message for w in cluster.warnings)
    seen = with_streams(three(), WAL, PUBLISHED, served=False)
    assert dynamic_configuration(seen).steps == ()
    assert "does not serve" in (stream_problem(seen) or "")


def test_a_live_object_keeps_its_name() -> None:
    known = LiveFacts(event_streams=(LiveStream("acid-a-x1y2z", "my-app", (("shop", SLOT),)),))
    (body,) = objects(asked(SHOP, facts=known))
    assert body["metadata"]["name"] == "acid-a-x1y2z"


# --- the order in which they come --------------------------------------------------------------------------------------


def with_streams(
    pods: Any,
    dynamic: Mapping[str, Any],
    database: Any = QUIET,
    *streams: Json,
    held: Mapping[str, Json] | None = None,
    served: bool = True,
    unread: str | None = None,
    annotations: Mapping[str, str] | None = None,
    **spec: Any,
) -> Situation:
    """A cluster with streams (SHOP unless given otherwise), resolved with what is live, as a pass does it."""
    wanted = list(streams or (SHOP,)) if streams != (None,) else []
    base = situation(
        *pods, spec={"streams": wanted, **spec}, dynamic=dynamic, database=database, annotations=annotations
    )
    kept = {place: o for place, o in base.observed.objects.items() if place[0] != names.STREAM_KIND}
    found = {(names.STREAM_KIND, name): live(body) for name, body in (held or {}).items()}
    why = {} if unread is None else {names.STREAM_KIND: unread}
    seen = replace(base.observed, objects={**kept, **found}, serves_event_streams=served, unread=why)
    raw = manifest(annotations, streams=wanted, **spec)
    settings = settings_from_configmap({"kubernetes_use_configmaps": "true", "enable_master_load_balancer": "false"})[0]
    cluster = resolve(raw, settings, References(), live_facts(seen))
    return replace(base, observed=seen, cluster=cluster, intended=build(cluster))


def patch_of(seen: Situation) -> Any:
    return next((s.patch for s in dynamic_configuration(seen).steps if isinstance(s, PatchDynamicConfiguration)), None)


def body_of(*streams: Json, name: str = "acid-a-x1y2z") -> dict[str, Json]:
    (body,) = objects(asked(*streams))
    return {name: {**body, "metadata": {**body["metadata"], "name": name}}}


def test_first_the_wal_level_then_the_publication_then_the_slot_then_the_object() -> None:
    replica = {"postgresql": {"parameters": {"wal_level": "replica"}}}
    assert patch_of(with_streams(three(), replica)) == WAL
    pending = (leader(0, pending_restart={"wal_level": ("replica", "logical")}), pod(1), pod(2))
    assert patch_of(with_streams(pending, WAL, PUBLISHED)) is None, "the slot waits for the restart"
    assert patch_of(with_streams(three(), WAL)) is None, "and for the publication"
    assert event_streams(with_streams(three(), WAL, PUBLISHED)).steps == (), "and the object for the slot"
    assert patch_of(with_streams(three(), WAL, PUBLISHED)) == {"slots": {SLOT: LOGICAL}}
    ready = with_streams(three(), {**WAL, "slots": {SLOT: LOGICAL}}, PUBLISHED)
    assert patch_of(ready) is None
    (step,) = event_streams(ready).steps
    assert isinstance(step, Create)
    assert step.body["spec"]["applicationId"] == "my-app"


def test_a_cluster_whose_streams_run_has_an_empty_plan() -> None:
    seen = with_streams(three(), {**WAL, "slots": {SLOT: LOGICAL}}, PUBLISHED, held=body_of(SHOP))
    assert decide(seen).is_quiet
    assert stream_problem(seen) is None


def test_a_slot_that_is_there_stays_while_nobody_knows_of_its_publication() -> None:
    seen = with_streams(three(), {**WAL, "slots": {SLOT: LOGICAL}}, QUIET, held=body_of(SHOP))
    assert patch_of(seen) is None
    assert event_streams(seen).steps == ()


def test_a_table_that_is_not_there_is_said_and_holds_up_nothing() -> None:
    lacking = replace(QUIET, stream_problems=('table "public.orders" does not exist',))
    seen = with_streams(three(), WAL, lacking)
    assert decide(seen).is_quiet
    assert stream_problem(seen) == 'table "public.orders" does not exist'


def test_a_standby_cluster_asks_for_no_slots() -> None:
    seen = with_streams(three(), WAL, PUBLISHED, standby={"standby_host": "h"})
    assert "slots" not in (patch_of(seen) or {})


def test_an_object_whose_spec_the_crd_drops_is_not_written_for_ever() -> None:
    (name, body), *_ = body_of(SHOP, name=names.event_stream(NAME, "my-app")).items()
    seen = with_streams(three(), {**WAL, "slots": {SLOT: LOGICAL}}, PUBLISHED, held={name: {**body, "spec": {}}})
    assert event_streams(seen).steps == ()
    assert "does not keep its spec" in (stream_problem(seen) or "")


# --- the order in which they go ----------------------------------------------------------------------------------------

NONE: Any = None


def test_first_the_slot_goes_then_the_publication_then_the_object() -> None:
    held = body_of(SHOP)
    there = with_streams(three(), {**WAL, "slots": {SLOT: LOGICAL, "other": {}}}, QUIET, NONE, held=held)
    assert patch_of(there) == {"slots": {SLOT: None}}
    assert there.cluster.access.publications == (StreamLink("shop", SLOT, ()),)
    assert event_streams(there).steps == ()
    assert event_streams(there).waits
    published = with_streams(three(), {**WAL, "slots": {}}, QUIET, NONE, held=held)
    assert event_streams(published).steps == ()
    gone = with_streams(three(), {**WAL, "slots": {}}, PUBLISHED, NONE, held=held)
    (step,) = event_streams(gone).steps
    assert isinstance(step, Delete)
    assert (step.kind, step.name, step.uid) == (
        names.STREAM_KIND,
        "acid-a-x1y2z",
        "uid-of-FabricEventStream-acid-a-x1y2z",
    )


def test_an_object_remembers_a_database_that_its_application_gave_up_until_nothing_of_it_is_left() -> None:
    both = body_of(SHOP, {**SHOP, "database": "stock"})
    slots = {SLOT: LOGICAL, "fes_stock_my_app": {**LOGICAL, "database": "stock"}}
    seen = with_streams(three(), {**WAL, "slots": slots}, PUBLISHED, held=both)
    assert patch_of(seen) == {"slots": {"fes_stock_my_app": None}}
    assert event_streams(seen).steps == ()
    away = replace(QUIET, publications=frozenset({("shop", SLOT), ("stock", "fes_stock_my_app")}))
    after = with_streams(three(), {**WAL, "slots": {SLOT: LOGICAL}}, away, held=both)
    changed = replace(after, differences={(names.STREAM_KIND, "acid-a-x1y2z"): _any_difference(after)})
    assert any(isinstance(step, Apply) for step in event_streams(changed).steps)


def _any_difference(seen: Situation) -> Any:
    body = next(b for b in seen.intended if b["kind"] == names.STREAM_KIND)
    found = differences(body, seen.observed.objects[(names.STREAM_KIND, "acid-a-x1y2z")])
    assert found
    return found


@pytest.mark.parametrize("streams", [(), (NONE,), ({**SHOP, "database": "stock"},)])
def test_while_one_cannot_be_read_streams_are_left_as_they_are_and_the_rest_goes_on(streams: Any) -> None:
    slots = {SLOT: LOGICAL, "fes_other_my_app": {**LOGICAL, "database": "other"}}
    seen = with_streams(three(), {**WAL, "slots": slots}, PUBLISHED, *streams, held=body_of(SHOP), unread="too deep")
    assert patch_of(seen) is None
    assert [link for link in seen.cluster.access.publications if not link.tables] == []
    assert event_streams(seen).steps == ()
    plan = decide(seen)
    assert (plan.steps, plan.stopped, plan.lacks, plan.unread) == ((), None, None, "too deep")
    other = {**body_of(SHOP), **body_of({**SHOP, "applicationId": "new"}, name="acid-a-new")}
    again = with_streams(three(), {**WAL, "slots": slots}, PUBLISHED, *streams, held=other)
    assert facts_version(again.observed) != facts_version(seen.observed)


def test_a_deleted_cluster_waits_for_a_stream_that_cannot_be_read() -> None:
    seen = with_streams(three(), WAL, PUBLISHED, held=body_of(SHOP), unread="too deep").observed
    plan = plan_deletion(
        replace(seen, resource=resource(deleted=True)), deletion_policy(default_settings()[0]), paused=False
    )
    assert plan.steps == ()
    assert "too deep" in plan.waits[0].why


def test_a_deleted_cluster_takes_its_streams_along_first() -> None:
    seen = with_streams(three(), WAL, PUBLISHED, held=body_of(SHOP)).observed
    going = replace(seen, resource=resource(deleted=True))
    (step,) = plan_deletion(going, deletion_policy(default_settings()[0]), paused=False).steps
    assert step.target == f"{names.STREAM_KIND} acid-a-x1y2z"


def test_what_is_live_of_streams_is_part_of_what_a_request_is_made_from() -> None:
    with_one = with_streams(three(), WAL, held=body_of(SHOP)).observed
    assert facts_version(with_one) != facts_version(with_streams(three(), WAL).observed)
    assert facts_version(with_one) != facts_version(replace(with_one, serves_event_streams=False))


# --- the manifest's own slots ------------------------------------------------------------------------------------------

KEEP = {"keep": {"type": "physical"}}


def slots_of(manifest_slots: Json, live_slots: Json, remembered: str | None = None) -> Any:
    annotations = None if remembered is None else {names.SLOTS: remembered}
    seen = situation(*three(), annotations=annotations, spec={"patroni": {"slots": manifest_slots}})
    config = replace(seen.config, dynamic={**(seen.config.dynamic or {}), "slots": live_slots})
    return dynamic_configuration(replace(seen, config=config)).steps


def test_the_names_are_kept_on_the_resource_before_patroni_is_asked() -> None:
    first, second = slots_of(KEEP, {})
    assert isinstance(first, AnnotateResource)
    assert first.annotations == {names.SLOTS: "keep"}
    assert second.patch == {"slots": KEEP}
    assert slots_of(KEEP, KEEP, "keep") == ()


def test_a_slot_that_left_the_manifest_goes_and_is_forgotten_when_it_is_gone() -> None:
    (step,) = slots_of(KEEP, {**KEEP, "gone": {"type": "physical"}}, "gone,keep")
    assert step.patch == {"slots": {"gone": None}}
    (step,) = slots_of(KEEP, KEEP, "gone,keep")
    assert step.annotations == {names.SLOTS: "keep"}
    (step,) = slots_of({}, {}, "keep")
    assert step.annotations == {names.SLOTS: None}


def test_a_slot_of_somebody_else_stays() -> None:
    assert slots_of(KEEP, {**KEEP, "theirs": {"type": "physical"}}, "keep") == ()

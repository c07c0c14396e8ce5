"""What a cluster is already, read from what was observed; and what an announcement keeps others from."""

import datetime as dt
from copy import deepcopy
from dataclasses import replace

import msgspec
import pytest

from howdah.core.facts import facts_version, live_facts
from howdah.core.intent import IN_FLIGHT, in_the_way, intent_of
from howdah.core.objects.build import build
from howdah.core.plan import ReplacePod, RestartMember, ScaleIn, Switchover
from howdah.core.request.asked import LiveFacts
from howdah.core.resolve import resolve
from howdah.model import names
from howdah.model.observed import Observed, PatroniObject
from howdah.model.settings import settings_from_configmap
from unit.core.clusters import (
    NAME,
    NOW,
    cluster,
    decoded,
    leader,
    live,
    lock,
    manifest,
    pod,
    resource,
    situation,
    three,
)

STATEFUL_SET = ("StatefulSet", NAME)
BODY = next(body for body in build(cluster()) if body["kind"] == "StatefulSet")


def test_a_cluster_that_does_not_exist_has_no_facts():
    assert live_facts(Observed(now=NOW, resource=resource())) == LiveFacts(exists=False, dcs=None, at=NOW)


def test_the_facts_of_a_running_cluster():
    facts = live_facts(situation(*three()).observed)
    assert (facts.exists, facts.dcs) == (True, "configmaps")
    assert facts.claim_template is not None
    assert facts.claim_template["metadata"]["name"] == "pgdata"
    assert facts.spilo_bootstrap is not None
    assert "dcs" in facts.spilo_bootstrap


@pytest.mark.parametrize(
    ("settings", "dcs"),
    [({"kubernetes_use_configmaps": "true"}, "configmaps"), ({"kubernetes_use_configmaps": "false"}, "endpoints")],
)
def test_patronis_own_annotations_say_where_its_state_is(settings, dcs):
    assert live_facts(situation(*three(), settings=settings).observed).dcs == dcs


@pytest.mark.parametrize(("status", "was_standby"), [({}, False), ({"standby": "true"}, True)])
def test_that_its_manifest_asked_for_a_standby_cluster_is_known(status, was_standby):
    seen = situation(*three(), status=status).observed
    assert live_facts(seen).was_standby is was_standby
    assert (facts_version(seen) == facts_version(situation(*three()).observed)) is not was_standby


def test_objects_that_patroni_has_not_written_say_nothing():
    seen = replace(situation(initialize=None, without=("StatefulSet",)).observed, templates={})
    assert live_facts(seen).dcs is None


def left_behind(used, **parts):
    """The observation of a cluster that uses this store, beside what an earlier life left in the other one."""
    settings = {"kubernetes_use_configmaps": "true" if used == "configmaps" else "false"}
    kind = "Endpoints" if used == "configmaps" else "ConfigMap"

    def kept(name, **said):
        annotations = {"initialize": "7", "config": "{}", **said}
        return decoded(PatroniObject, {"metadata": {"name": name, "namespace": "ns", "annotations": annotations}})

    seen = situation(*three(), settings=settings, **parts).observed
    leader_object = "acid-a-leader" if kind == "ConfigMap" else NAME
    old = (NOW - dt.timedelta(days=30)).isoformat()
    dead = {
        "acid-a-config": kept("acid-a-config"),
        leader_object: kept(leader_object, renewTime=old, leader="acid-a-1"),
    }
    return replace(seen, patroni={**seen.patroni, **{(kind, name): one for name, one in dead.items()}})


@pytest.mark.parametrize("used", ["configmaps", "endpoints"])
@pytest.mark.parametrize("known", ["pods", "the StatefulSet alone", "nothing but the locks"])
def test_the_store_in_use_wins_over_one_that_was_left_behind(used, known):
    seen = left_behind(used, without=("StatefulSet",) if known == "nothing but the locks" else ())
    if known != "pods":
        seen = replace(seen, pods=(), templates={})
    assert live_facts(seen).dcs == used


def test_a_store_whose_objects_are_away_for_a_moment_is_still_the_one_in_use():
    seen = left_behind("endpoints")
    seen = replace(seen, patroni={place: one for place, one in seen.patroni.items() if place[0] == "ConfigMap"})
    assert live_facts(seen).dcs == "endpoints"


def test_what_pods_run_with_wins_over_a_stateful_set_that_was_changed_since():
    seen = left_behind("endpoints")
    assert live_facts(replace(seen, objects={**seen.objects, STATEFUL_SET: live(BODY)})).dcs == "endpoints"
    mixed = {**seen.templates, "another": BODY["spec"]["template"]}
    assert live_facts(replace(seen, templates=mixed)).dcs == "endpoints", "then the StatefulSet says it"


def test_what_is_kept_in_etcd_stays_there():
    seen = situation(*three(), settings={"etcd_host": "etcd.example"}).observed
    facts = live_facts(seen)
    assert (facts.dcs, facts.etcd_host) == ("etcd", "etcd.example")
    assert live_facts(replace(seen, templates={})).etcd_host == "etcd.example"
    assert live_facts(situation(*three()).observed).etcd_host == ""


@pytest.mark.parametrize(("option", "host"), [("", "etcd.example"), ("other.example", "other.example")])
def test_pods_keep_their_etcd_where_the_operator_has_lost_its_address(option, host):
    facts = live_facts(situation(*three(), settings={"etcd_host": "etcd.example"}).observed)
    made = resolve(manifest(), settings_from_configmap({"etcd_host": option} if option else {})[0], live=facts)
    assert made.dcs == "etcd"
    assert {"name": "ETCD_HOST", "value": host} in made.pod.containers[0].body["env"]


def test_a_lost_stateful_set_is_not_a_new_cluster():
    facts = live_facts(situation(*three(), without=("StatefulSet",)).observed)
    assert (facts.exists, facts.dcs, facts.claim_template) == (True, "configmaps", None)


@pytest.mark.parametrize("text", ["", "no JSON", "[]", '{"other": 1}'])
def test_a_configuration_that_cannot_be_read_wins_over_nothing(text):
    body = deepcopy(BODY)
    entry = next(
        e for e in body["spec"]["template"]["spec"]["containers"][0]["env"] if e["name"] == "SPILO_CONFIGURATION"
    )
    entry["value"] = text
    assert live_facts(situation(*three(), objects={STATEFUL_SET: live(body)}).observed).spilo_bootstrap is None


def test_the_same_version_means_the_same_facts():
    seen = situation(*three()).observed
    assert facts_version(seen) == facts_version(replace(seen, pods=(), secrets={}))
    newer = {**seen.objects, STATEFUL_SET: live(BODY, generation=7)}
    assert facts_version(seen) != facts_version(replace(seen, objects=newer))
    etcd = situation(*three(), settings={"etcd_host": "etcd.example"}).observed
    assert facts_version(seen) != facts_version(replace(seen, templates=etcd.templates))


# --- the announcement of a disruptive step -----------------------------------------------------------------------------

REPLACE = ReplacePod(reason="r", name="acid-a-1", uid="uid-of-pod-1", resource_version="201")
OTHER = ReplacePod(reason="r", name="acid-a-2", uid="uid-of-pod-2", resource_version="202")
SWITCH = Switchover(reason="r", leader="acid-a-0", candidate="acid-a-1")
RESTART = RestartMember(reason="r", name="acid-a-1", uid="uid-of-pod-1")
PENDING = (leader(), pod(1, pending_restart={"shared_buffers": ("1", "2")}), pod(2))
FEWER = ScaleIn(
    reason="r",
    body={"kind": "StatefulSet", "metadata": {"name": NAME}, "spec": {"replicas": 2}},
    uid="u",
    resource_version="1",
    leader="acid-a-0",
    object_kind="ConfigMap",
    object_name="acid-a-leader",
)
SMALLER = {"spec": {"numberOfInstances": 2}, "objects": {STATEFUL_SET: live(BODY)}}
ONE = {"spec": {"numberOfInstances": 1}}
TURN_IS_OVER = {**ONE, "objects": {STATEFUL_SET: live({**BODY, "spec": {**BODY["spec"], "replicas": 2}})}}
BEFORE_IT_WAS_NAMED = '{"step":"ScaleIn","member":"","uid":"u","reason":"r","at":"2026-01-02T03:04:04Z"}'
LONG_AGO = IN_FLIGHT + dt.timedelta(seconds=1)


def announced(step, *pods, age=dt.timedelta(seconds=1), text=None, **parts):
    written = msgspec.json.encode(intent_of(step, NOW - age)).decode() if text is None else text
    return situation(*(pods or three()), annotations={names.DISRUPTION: written}, **parts)


@pytest.mark.parametrize(
    ("claim", "seen", "step", "is_in_the_way"),
    [
        ("nothing was announced", situation(*three()), REPLACE, False),
        ("the same step", announced(REPLACE), REPLACE, False),
        ("another step, a moment ago", announced(REPLACE), OTHER, True),
        ("another step, long ago", announced(REPLACE, age=LONG_AGO), OTHER, False),
        ("its pod is gone, so it has had its effect", announced(REPLACE, *three()[::2]), OTHER, False),
        ("a switchover, and the leader is the old one", announced(SWITCH), OTHER, True),
        ("a switchover, and nobody leads", announced(SWITCH, leader_lock={}), OTHER, True),
        ("a switchover, and another leads", announced(SWITCH, leader_lock=lock("acid-a-1")), OTHER, False),
        ("a restart that is still pending", announced(RESTART, *PENDING), OTHER, True),
        ("fewer instances, and its replicas are there", announced(FEWER, **SMALLER), REPLACE, True),
        ("fewer instances, which there are", announced(FEWER), REPLACE, False),
        (
            "fewer in two turns, and the first is not over",
            announced(FEWER, **ONE, objects=SMALLER["objects"]),
            SWITCH,
            True,
        ),
        ("fewer in two turns, and the first is over", announced(FEWER, **TURN_IS_OVER), SWITCH, False),
        (
            "fewer, said by an operator of an earlier release",
            announced(FEWER, text=BEFORE_IT_WAS_NAMED, **SMALLER),
            SWITCH,
            True,
        ),
        ("a restart that was done", announced(RESTART), OTHER, False),
        ("what a person wrote", announced(REPLACE, text="do not touch"), OTHER, False),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_announced_step_may_still_take_effect(claim, seen, step, is_in_the_way):
    assert (in_the_way(seen, step) is not None) is is_in_the_way, claim


def test_an_intent_names_the_member_and_the_pod_that_is_acted_on():
    intent = intent_of(REPLACE, NOW)
    assert (intent.step, intent.member, intent.uid, intent.at) == ("ReplacePod", "acid-a-1", "uid-of-pod-1", NOW)
    assert (intent_of(FEWER, NOW).member, intent_of(FEWER, NOW).uid) == ("acid-a-2", "u")
    assert (intent_of(SWITCH, NOW).member, intent_of(SWITCH, NOW).uid) == ("acid-a-0", "")

"""Plans, explanations and orphans as people and programs read them."""

from typing import Any

import pytest

from howdah.cli.documents import Document
from howdah.cli.exits import Exit, Failed
from howdah.cli.explain import headline
from howdah.cli.local import problems, refuse_what_cannot_run
from howdah.cli.orphans import Orphan, orphans
from howdah.cli.plan import Planned, action, as_data, is_file, notes_of, text
from howdah.cli.status import is_sound, summary
from howdah.controller.look import Looked
from howdah.core.findings import findings_of
from howdah.core.plan import Apply, CreateSecret, Held, PatchDynamicConfiguration, Plan, ReplacePod, Wait
from howdah.core.planners import decide
from howdah.core.situation import DatabaseLook
from howdah.core.spilo.machine import Installation
from howdah.model import names
from howdah.model.errors import Problem
from howdah.model.observed import Meta
from unit.core.clusters import situation, three

SECRET = CreateSecret(reason="it does not exist", body={"kind": "Secret", "metadata": {"name": "s"}}, username="u")
APPLY = Apply(
    reason="replicas differ",
    body={"kind": "StatefulSet", "metadata": {"name": "c"}},
    uid="1",
    changes=tuple(f"spec.field{number}" for number in range(12)),
    costs=("roll", *("patch",) * 11),
)
REPLACE = ReplacePod(reason="its template is old", name="c-1", uid="2", resource_version="3")


def test_plan_says_steps_with_reasons_and_what_is_held_and_awaited() -> None:
    plan = Plan(steps=(SECRET, REPLACE), held=(Held(APPLY, "paused"),), waits=(Wait(5, "c-1 starts"),))
    assert list(text(Planned("ns", "c", plan, notes=("a note",)))) == [
        "ns/c: 2 steps",
        "   1  create Secret s",
        "      it does not exist",
        "   2  replace Pod c-1  (interrupts connections)",
        "      its template is old",
        "  held: apply StatefulSet c: replicas differ  (paused)",
        "        spec.field0: roll, pods are replaced one by one",
        *(f"        spec.field{number}: patch, no pod is touched" for number in range(1, 8)),
        "        … and 4 more",
        "  waits: c-1 starts  (looks again within 5 s)",
        "  note: a note",
    ]


def test_what_stays_as_it_is_in_the_databases_is_told_and_is_nothing_to_do() -> None:
    left = situation(*three(), database=DatabaseLook(is_known=True, unmet=('role "foo_owner" keeps its login',)))
    assert notes_of(Looked(left)) == ('role "foo_owner" keeps its login',)
    assert notes_of(Looked(left, "no answer")) == ("roles and databases are not compared: no answer",)
    assert findings_of(left).database_problem is None
    assert decide(left).is_quiet


def test_quiet_cluster_has_nothing_to_do() -> None:
    assert list(text(Planned("ns", "c"))) == ["ns/c: nothing to do"]


def test_long_lists_of_changes_are_cut_in_text_and_counted() -> None:
    lines = list(text(Planned("ns", "c", Plan(steps=(APPLY,)))))
    assert lines[-1].strip() == "… and 4 more"


def test_action_does_not_say_the_kind_twice() -> None:
    assert action(SECRET) == "create Secret s"
    patch = PatchDynamicConfiguration(reason="ttl differs", patch={"ttl": 20})
    assert action(patch) == "patch dynamic configuration: Patroni configuration"


def test_data_holds_everything_that_text_says() -> None:
    problem = Problem("spec.x", "is wrong", "mend it")
    plan = Plan(steps=(REPLACE,), waits=(Wait(5, "w"), Wait(2, "v")), stopped="c-1 failed")
    found = as_data(Planned("ns", "c", plan, problems=(problem,)))
    assert found["steps"] == [
        {
            "kind": "ReplacePod",
            "target": "Pod c-1",
            "reason": "its template is old",
            "disruptive": True,
            "details": [],
        }
    ]
    assert found["nextLookSeconds"] == 2
    assert found["stopped"] == "c-1 failed"
    assert found["problems"] == [{"path": "spec.x", "message": "is wrong", "hint": "mend it"}]


@pytest.mark.parametrize(
    ("word", "expected"), [("-", True), ("a.yaml", True), ("dir/x", True), ("x.json", True), ("acid-minimal", False)]
)
def test_files_and_names_are_told_apart(word: str, expected: bool) -> None:
    assert is_file(word) is expected


def test_headline_says_why_a_cluster_is_not_ready() -> None:
    planned = Planned("ns", "c")
    not_ready = {"Ready": {"status": "False", "message": "no member accepts writes"}}
    assert headline(planned, not_ready) == "ns/c is not ready: no member accepts writes"
    assert headline(planned, {}) == "ns/c is not ready: the operator has not looked at it yet"


def meta(name: str, cluster: str | None, namespace: str = "ns", of: str | None = None) -> Meta:
    labels = {"cluster-name": cluster} if cluster else None
    return Meta(name=name, namespace=namespace, labels=labels, annotations={names.CLUSTER: of} if of else None)


def test_only_objects_of_clusters_that_are_gone_are_orphans() -> None:
    found = orphans(
        [
            ("Pod", meta("a-0", "a")),
            ("Pod", meta("b-0", "b")),
            ("Pod", meta("c-0", None)),
            ("Pod", meta("a-0", "a", namespace="other")),
            ("Secret", meta("s", "a", namespace="other")),  # of a role whose Secret is meant to be there
        ],
        {("ns", "a")},
        "cluster-name",
    )
    assert list(found) == [Orphan("ns", "b", "Pod", "b-0"), Orphan("other", "a", "Pod", "a-0")]


def test_a_secret_that_says_whose_it_is_is_an_orphan_when_that_cluster_is_gone() -> None:
    found = orphans(
        [
            ("Secret", meta("beside-its-cluster", "a", of="ns/a")),
            ("Secret", meta("beside-a-namesake", "a", of="gone/a")),
            ("Secret", meta("elsewhere", "a", namespace="other", of="ns/a")),
        ],
        {("ns", "a")},
        "cluster-name",
    )
    assert list(found) == [Orphan("ns", "a", "Secret", "beside-a-namesake")]


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        ({"state": "running"}, True),
        ({"state": "streaming", "lag": "ok"}, True),
        ({"state": "streaming", "lag": "behind"}, False),
        ({"state": "starting"}, False),
        ({}, False),
    ],
)
def test_member_counts_when_it_does_what_it_should(member: dict[str, str], expected: bool) -> None:
    assert is_sound(member) is expected


def test_old_resource_with_a_bare_status_is_summarised() -> None:
    resource = {"metadata": {"name": "c", "namespace": "ns"}, "spec": {"numberOfInstances": 2}, "status": "Running"}
    found = summary(resource)
    assert (found["state"], found["members"], found["leader"]) == ("Running", {"wanted": 2, "ok": 0}, "")


PRESENT = [Installation(15, "/a"), Installation(9, "/b")]


def asked(version: str, **spec: Any) -> Document:
    whole = {"teamId": "acid", "numberOfInstances": 1, "volume": {"size": "1Gi"}, **spec}
    body = {"apiVersion": "acid.zalan.do/v1", "kind": "postgresql", "metadata": {"name": "acid-a"}}
    return Document("a.yaml", {**body, "spec": {**whole, "postgresql": {"version": version}}})


def test_missing_major_is_refused_with_those_that_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    refuse_what_cannot_run([asked("15")], PRESENT)
    with pytest.raises(Failed, match="1 problem; nothing is started") as caught:
        refuse_what_cannot_run([asked("15"), asked("17")], PRESENT)
    assert caught.value.code is Exit.INVALID
    said = "a.yaml: spec.postgresql.version: PostgreSQL 17 is not on this machine; present: 9, 15."
    assert capsys.readouterr().err.startswith(said)


def test_every_mistake_is_said_before_anything_is_started() -> None:
    found = problems(asked("17", numberOfInstances="two", volume={"size": "1GB"}).body, PRESENT)
    assert [problem.path for problem in found] == [
        "spec.numberOfInstances",
        "spec.volume.size",
        "spec.postgresql.version",
    ]


@pytest.mark.parametrize("body", [{}, {"spec": None}, {"spec": []}, {"spec": {"postgresql": "15"}}])
def test_what_is_no_manifest_at_all_is_a_mistake_too(body: dict[str, Any]) -> None:
    assert list(problems(body, PRESENT))

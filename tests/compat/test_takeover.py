"""Our operator on what the reference left on a server: no pod is touched, nothing is deleted, the fields become ours.

Where pods would follow that, or the reference would undo it by rolling them, it waits for a person's word.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from compat.compare import CASES, Case, cases_in, documents, fields_of, read_case
from compat.stage import PERSON, REFERENCE, Stage, play
from howdah.adapters.kubernetes import POSTGRESQLS
from howdah.cli.operator_settings import OperatorSettings
from howdah.cli.plan import plan_of, text
from howdah.core.objects.diff import CREDENTIALS
from howdah.kube.resources import SERVICES, STATEFUL_SETS
from howdah.kube.testing.store import Writer
from howdah.local.apiserver.defaulting import apply_defaults
from howdah.model import names
from scenario.world.hand import Hand

ADOPTED = [
    case
    for case in map(read_case, cases_in([CASES]))
    if not case.facts.get("ignored")
    and any(body["kind"] == "StatefulSet" for body in documents(case.folder / "objects.yaml"))
]
OURS = ("StatefulSet", "Service", "PodDisruptionBudget")


@pytest.mark.parametrize("case", ADOPTED, ids=[case.name for case in ADOPTED])
def test_a_recorded_cluster_is_taken_over_without_touching_a_pod(case: Case) -> None:
    play(case, _taken_over)


async def _taken_over(stage: Stage) -> None:
    stage.load()
    stage.seat()
    before = dict(stage.objects())
    stage.start_operator()
    await stage.settled()
    after = dict(stage.objects())
    asked = [f"{request.verb} {request.resource} {request.name}" for request in stage.writes()]
    assert not [line for line in asked if line.startswith("delete")]
    assert not stage.commands
    assert not stage.refused()
    assert set(after) >= set(before)
    assert all(after[key]["metadata"]["uid"] == body["metadata"]["uid"] for key, body in before.items())
    for key, body in before.items():
        if key[0] == "Pod":
            assert after[key] == body, "a pod is as it was, mark and all"
        if key[0] == "StatefulSet":
            assert _template(after[key]) == _template(body)
        if key[0] in ("Service", "PodDisruptionBudget"):
            assert fields_of(_said(after[key])) == fields_of(_said(body))
    foreign = [key for key, body in after.items() if key[0] in OURS and _owners(body) & {"postgres-operator"}]
    waiting = [key for key in foreign if key[0] == "StatefulSet" and _has_credentials(before[key])]
    assert not [
        key for key in foreign if key not in waiting and not key[2].endswith(("-config", "-pooler", "-pooler-repl"))
    ]
    done = len(asked)
    stage.start_operator()
    await stage.settled(quiet_s=120.0)
    again = [f"{r.verb} {r.resource} {r.name} {r.body}" for r in stage.writes()[done:]]
    assert not again, "a second pass, of a fresh operator, writes nothing"


OTHER_IMAGE = "registry.example/spilo:of-the-reference"


def test_before_a_takeover_the_plan_says_what_differs_its_class_and_why() -> None:
    case = next(case for case in ADOPTED if case.name == "clone-s3-path")
    play(case, _planned)


async def _planned(stage: Stage) -> None:
    stage.load()
    live = stage.store.read(STATEFUL_SETS, *stage.key)
    live["spec"]["template"]["spec"]["containers"][0]["image"] = OTHER_IMAGE
    stage.seat()
    client = stage.client(Hand("person"))
    lines = "\n".join(text(await plan_of(client, OperatorSettings(stage.settings, stage.case.name), *stage.key)))
    assert "take over: Service acid-clone\n" in lines
    assert "create environment Secret acid-clone-environment" in lines
    held = lines[lines.index("  held: apply StatefulSet acid-clone") :]
    assert f"image is {OTHER_IMAGE} and shall be" in held
    assert "(it was made by postgres-operator; annotate the resource with howdah.dev/adopt=true)" in held
    assert "spec.template.spec.containers[postgres].image: roll, pods are replaced one by one" in held
    assert "env[CLONE_AWS_SECRET_ACCESS_KEY].value: patch, no pod is touched" in held
    assert "interrupts connections" not in lines


def test_what_would_roll_waits_for_a_persons_word() -> None:
    case = next(case for case in ADOPTED if case.name == "minimal")
    play(case, _waits_for_a_word)


async def _waits_for_a_word(stage: Stage) -> None:
    stage.load()
    live = stage.store.read(STATEFUL_SETS, *stage.key)
    live["spec"]["template"]["spec"]["containers"][0]["image"] = OTHER_IMAGE
    await stage.grow()
    before = {pod["metadata"]["uid"] for pod in stage.pods()}
    stage.start_operator()
    await stage.settled()
    assert {pod["metadata"]["uid"] for pod in stage.pods()} == before
    assert _owners(stage.store.read(STATEFUL_SETS, *stage.key)) == {"postgres-operator"}
    stage.patch(POSTGRESQLS, stage.key, WORD, PERSON)
    await stage.settled()
    assert before.isdisjoint(pod["metadata"]["uid"] for pod in stage.pods())
    assert not _owners(stage.store.read(STATEFUL_SETS, *stage.key))


def test_spelled_out_credentials_move_into_a_secret_with_that_word_and_roll_no_pod() -> None:
    play(next(case for case in ADOPTED if case.name == "clone-s3-path"), _credentials_moved)


async def _credentials_moved(stage: Stage) -> None:
    stage.load()
    await stage.grow()
    before, pods = stage.store.read(STATEFUL_SETS, *stage.key), _uids(stage)
    stage.start_operator()
    await stage.settled()
    held = stage.store.read(STATEFUL_SETS, *stage.key)
    assert _template(held) == _template(before), "the reference, come back, would find nothing to roll"
    assert _has_credentials(held)
    stage.patch(POSTGRESQLS, stage.key, WORD, PERSON)
    await stage.settled()
    after = stage.store.read(STATEFUL_SETS, *stage.key)
    assert not _has_credentials(after)
    assert not _owners(after)
    assert _uids(stage) == pods


TOLERATIONS = [{"key": "db", "operator": "Exists", "effect": "NoSchedule"}]
WORD = {"metadata": {"annotations": {names.ADOPTED: "true"}}}
IDLE_TIMEOUT = "service.beta.kubernetes.io/aws-load-balancer-connection-idle-timeout"


def _with_tolerations(pod: dict[str, Any]) -> None:
    pod["spec"]["tolerations"] = TOLERATIONS


def _with_variable(pod: dict[str, Any]) -> None:
    pod["spec"]["containers"][0]["env"].append({"name": "OF_V1", "value": "x"})


def _with_sidecar(pod: dict[str, Any]) -> None:
    pod["spec"]["containers"].append({"name": "of-v1", "image": "registry.example/exporter:1"})


def _with_node_selector(pod: dict[str, Any]) -> None:
    pod["spec"]["nodeSelector"] = {"of-v1": "x"}


def _with_annotation(pod: dict[str, Any]) -> None:
    pod["metadata"].setdefault("annotations", {})["of-v1"] = "x"


@pytest.mark.parametrize(
    ("add", "rolls"),
    [
        (_with_tolerations, True),
        (_with_variable, True),
        (_with_sidecar, True),
        (_with_node_selector, True),
        (_with_annotation, False),
    ],
)
def test_what_only_the_reference_intended_rolls_no_pod_without_a_word(
    add: Callable[[dict[str, Any]], None], rolls: bool
) -> None:
    async def story(stage: Stage) -> None:
        _wrote(stage, "StatefulSet", lambda body: add(body["spec"]["template"]))
        stage.load()
        await stage.grow()
        before, pods = stage.store.read(STATEFUL_SETS, *stage.key), _uids(stage)
        plan = await _plan(stage)
        await _run_twice(stage)
        after = stage.store.read(STATEFUL_SETS, *stage.key)
        assert _uids(stage) == pods
        assert (_template(after) == _template(before)) is rolls, "only what touches no pod has gone"
        assert _owners(after) == ({"postgres-operator"} if rolls else set())
        assert ("  held: apply StatefulSet" in plan) is rolls
        stage.patch(POSTGRESQLS, stage.key, WORD, PERSON)
        await stage.settled()
        adopted = stage.store.read(STATEFUL_SETS, *stage.key)
        assert not _owners(adopted)
        assert pods.isdisjoint(_uids(stage)) is rolls
        gone = _gone(before, adopted)
        assert gone
        assert all(name in plan for name in gone), "all that went was told before anything was done"

    play(next(case for case in ADOPTED if case.name == "minimal"), story)


def test_pods_that_the_reference_left_behind_its_template_are_not_replaced_without_a_word() -> None:
    play(next(case for case in ADOPTED if case.name == "minimal"), _left_behind)


async def _left_behind(stage: Stage) -> None:
    """It does not roll for tolerations: the manifest and the StatefulSet have them, and the pods do not."""
    stage.load()
    await stage.grow()
    stage.patch(POSTGRESQLS, stage.key, {"spec": {"tolerations": TOLERATIONS}}, PERSON)
    template = {"spec": {"template": {"spec": {"tolerations": TOLERATIONS}}}}
    stage.patch(STATEFUL_SETS, stage.key, template, REFERENCE)
    pods, plan = _uids(stage), await _plan(stage)
    for pod in stage.pods():
        assert f"  held: replace Pod {pod['metadata']['name']}: {pod['metadata']['name']}: its template differs" in plan
    await _run_twice(stage)
    assert _uids(stage) == pods
    assert not stage.commands
    stage.patch(POSTGRESQLS, stage.key, {"spec": {"numberOfInstances": 3}}, PERSON)
    await stage.until(lambda: len(stage.pods()) == 3)
    await _run_twice(stage)
    assert pods < _uids(stage), "one more is no leave to replace the others"
    stage.patch(POSTGRESQLS, stage.key, WORD, PERSON)
    await stage.settled()
    assert pods.isdisjoint(_uids(stage))
    assert not _owners(stage.store.read(STATEFUL_SETS, *stage.key))


def test_of_a_service_only_the_timeout_of_its_load_balancer_stays_without_being_intended() -> None:
    play(next(case for case in ADOPTED if case.name == "services-load-balancer"), _annotations_of_services)


async def _annotations_of_services(stage: Stage) -> None:
    def annotate(body: dict[str, Any]) -> None:
        body["metadata"].setdefault("annotations", {}).update({IDLE_TIMEOUT: "3600", "of-v1": "x"})

    _wrote(stage, "Service", annotate)
    stage.load()
    others = {"metadata": {"annotations": {"of-the-cloud": "x"}}}
    for service in _services(stage):
        stage.patch(SERVICES, (stage.key[0], service["metadata"]["name"]), others, Writer("cloud-controller-manager"))
    stage.seat()
    before, plan = _services(stage), await _plan(stage)
    await _run_twice(stage)
    for was, now in zip(before, _services(stage), strict=True):
        assert _gone(was, now) == ["of-v1"]
        assert now["metadata"]["annotations"][IDLE_TIMEOUT] == "3600"
        assert not _owners(now) & {"postgres-operator"}
    assert "metadata.annotations.of-v1: patch, no pod is touched" in plan
    # What a person asks for instead is followed, and so is that they ask for it no more.
    for asked, expected in (("60", "60"), (None, None)):
        annotations = {"spec": {"serviceAnnotations": {IDLE_TIMEOUT: asked}}}
        stage.patch(POSTGRESQLS, stage.key, annotations, PERSON)
        await stage.settled()
        assert {s["metadata"]["annotations"].get(IDLE_TIMEOUT) for s in _services(stage)} == {expected}


def _wrote(stage: Stage, kind: str, change: Callable[[dict[str, Any]], None]) -> None:
    """An earlier release of the reference wrote more into these objects."""
    make = stage.make

    def made(body: dict[str, Any], writer: Writer) -> None:
        body = deepcopy(body)
        if body["kind"] == kind and writer == REFERENCE:
            change(body)
        make(body, writer)

    stage.make = made  # type: ignore[method-assign]


async def _run_twice(stage: Stage) -> None:
    """The second operator knows nothing of what the first one saw."""
    for _ in range(2):
        stage.start_operator()
        await stage.settled()


async def _plan(stage: Stage) -> str:
    settings = OperatorSettings(stage.settings, stage.case.name)
    return "\n".join(text(await plan_of(stage.client(Hand("person")), settings, *stage.key)))


def _uids(stage: Stage) -> set[str]:
    return {pod["metadata"]["uid"] for pod in stage.pods()}


def _services(stage: Stage) -> list[dict[str, Any]]:
    return [body for (kind, _, name), body in stage.objects() if kind == "Service" and "config" not in name]


def _gone(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Names of keys, and of items of lists, that are not there any more; what the server fills in aside."""
    filled = deepcopy(after)
    apply_defaults("services" if after["kind"] == "Service" else "statefulsets.apps", filled)
    return _missing(before, filled)


def _missing(before: Any, after: Any) -> list[str]:
    if isinstance(before, list):
        before, after = ({i.get("name", i.get("key")): i for i in x if isinstance(i, dict)} for x in (before, after))
    if not isinstance(before, dict) or not isinstance(after, dict):
        return []
    found = [str(key) for key in before if key not in after]
    for key in before.keys() & after.keys() - {"managedFields"}:
        found += _missing(before[key], after[key])
    return found


def _has_credentials(body: dict[str, Any]) -> bool:
    """Whether one is spelled out."""
    containers = body["spec"]["template"]["spec"]["containers"]
    return any(e["name"] in CREDENTIALS and e.get("value") for c in containers for e in c.get("env") or ())


def _template(body: dict[str, Any]) -> dict[str, Any]:
    """With what the server fills in."""
    whole = deepcopy(body)
    apply_defaults("statefulsets.apps", whole)
    found: dict[str, Any] = whole["spec"]["template"]
    return found


HOST = [{"name": "STANDBY_HOST", "value": "primary.example.com"}, {"name": "STANDBY_PORT", "value": "5432"}]
MINIMAL = next(case for case in ADOPTED if case.name == "minimal")


class Following(Stage):
    """The cluster follows another since it was made, by variables of its pods; its manifest has no section `standby`."""

    def _dynamic(self) -> dict[str, Any]:
        return {**super()._dynamic(), "standby_cluster": {"host": "primary.example.com", "port": 5432}}

    def make(self, body: dict[str, Any], writer: Any) -> None:
        if body["kind"] == "StatefulSet":
            body = deepcopy(body)
            body["spec"]["template"]["spec"]["containers"][0]["env"] += HOST
        super().make(body, writer)


def test_a_standby_cluster_that_follows_by_variables_is_not_promoted() -> None:
    async def taken_over(stage: Stage) -> None:
        stage.__class__ = Following
        stage.load()
        stage.patch(POSTGRESQLS, stage.key, {"spec": {"env": HOST}}, PERSON)
        stage.seat()
        stage.start_operator()
        await stage.settled()
        assert not stage.commands

    play(MINIMAL, taken_over)


def _said(body: dict[str, Any]) -> dict[str, Any]:
    """What a person would see of it."""
    metadata = {key: body["metadata"].get(key) for key in ("labels", "annotations", "ownerReferences")}
    return {"kind": body["kind"], "metadata": {k: v for k, v in metadata.items() if v}, "spec": body.get("spec") or {}}


def _owners(body: dict[str, Any]) -> set[str]:
    entries = body["metadata"].get("managedFields") or ()
    return {entry["manager"] for entry in entries if entry["operation"] == "Update" and not entry.get("subresource")}


def test_the_recorded_clusters_are_many() -> None:
    assert len(ADOPTED) > 120

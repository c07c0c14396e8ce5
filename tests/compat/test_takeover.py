"""Our operator on what the reference left on a server: no pod is touched, nothing is deleted, the fields become ours."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from compat.compare import CASES, Case, cases_in, documents, fields_of, read_case
from compat.stage import PERSON, Stage, play
from howdah.adapters.kubernetes import POSTGRESQLS
from howdah.cli.operator_settings import OperatorSettings
from howdah.cli.plan import plan_of, text
from howdah.core.objects.diff import CREDENTIALS
from howdah.kube.resources import STATEFUL_SETS
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
    assert not [key for key in foreign if not key[2].endswith(("-config", "-pooler", "-pooler-repl"))]
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
    word = {"metadata": {"annotations": {names.ADOPTED: "true"}}}
    stage.patch(POSTGRESQLS, stage.key, word, PERSON)
    await stage.settled()
    assert before.isdisjoint(pod["metadata"]["uid"] for pod in stage.pods())
    assert not _owners(stage.store.read(STATEFUL_SETS, *stage.key))


def _template(body: dict[str, Any]) -> dict[str, Any]:
    """With what the server fills in, and without the credentials, which become references."""
    whole = deepcopy(body)
    apply_defaults("statefulsets.apps", whole)
    template = whole["spec"]["template"]
    for container in template["spec"]["containers"]:
        container["env"] = [entry for entry in container.get("env") or () if entry["name"] not in CREDENTIALS]
    found: dict[str, Any] = template
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

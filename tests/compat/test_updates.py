"""What people change on a taken-over cluster ends as recorded, and disturbs its members no more often than recorded.

Members live here: a StatefulSet controller, a kubelet and Patroni that elect, stream and restart (`scenario.world`).
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from compat.compare import (
    CASES,
    FAILED,
    Case,
    Id,
    Totals,
    after_step,
    cases_in,
    compare_object,
    documents,
    phase_of,
    read_case,
)
from compat.others import MADE_BY_OTHERS
from compat.stage import KINDS, PERSON, Stage, play
from howdah.adapters.kubernetes import POSTGRESQLS

LEFT_OUT = {
    "delete-after-restart": "without a finalizer the reference forgets the cluster; we have one, and delete in order",
    "node-cordoned": "pods are not moved off cordoned nodes yet",
    "delete-owner-references": "the machinery knows only ConfigMaps, and there it is with Endpoints",
}
UPDATED = [case for case in map(read_case, cases_in([CASES])) if case.facts.get("steps") and case.name not in LEFT_OUT]
UNBUILT = re.compile("logical-backup")
"""What is not built yet is not removed either."""
OF_PATRONI = re.compile(
    r"config|initialize|history|leader|ttl|transitions|status|acquireTime|renewTime|optime|failsafe"
)


@dataclass(frozen=True, slots=True)
class Disruptions:
    """How often members were disturbed."""

    pods: int
    switchovers: int
    restarts: int
    stateful_sets: int

    def exceeds(self, other: Disruptions) -> bool:
        return any(getattr(self, name) > getattr(other, name) for name in self.__slots__)


@pytest.mark.parametrize("case", UPDATED, ids=[case.name for case in UPDATED])
def test_recorded_updates_end_in_the_same_objects_by_no_more_disruptions(case: Case) -> None:
    play(case, _updated)


async def _updated(stage: Stage) -> None:
    stage.load()
    await stage.grow()
    stage.start_operator()
    await stage.settled()
    assert not _ours(stage, 0, 0).exceeds(Disruptions(0, 0, 0, 0)), "taking over disturbs nobody"
    for number, step in enumerate(stage.case.facts["steps"], start=2):
        done, commands = len(stage.writes()), len(stage.commands)
        await _play_step(stage, step)
        if step.get("delete"):
            _compare_remaining(stage, number)
            return
        mine, recorded = _ours(stage, done, commands), _recorded(stage, number)
        assert not mine.exceeds(recorded), f"step {number}: {mine}, recorded {recorded}"
        _is_at_rest(stage)
        _compare(stage, number)


def _is_at_rest(stage: Stage) -> None:
    """As many members as asked, none of them waits for anything, and the status says so."""
    status = stage.store.read(POSTGRESQLS, *stage.key)["status"]
    pending = next(c for c in status["conditions"] if c["type"] == "RestartPending")
    assert (status["PostgresClusterStatus"], pending["status"]) == ("Running", "False"), status
    assert len(stage.pods()) == stage.case.manifest["spec"]["numberOfInstances"]
    assert stage.is_well(len(stage.pods()))
    following = "standby" in stage.case.manifest["spec"]
    assert any(machine.accepts_writes for machine in stage.machinery.machines.values()) is not following


async def _play_step(stage: Stage, step: Mapping[str, Any]) -> None:
    if (leader := step.get("leader")) is not None:
        stage.hand_over(leader)
        await stage.until(lambda: stage.leader() == leader)
        await stage.settled()
    stage.case = after_step(stage.case, step)
    if "apply" in step:
        _apply(stage)
    for body in _listed(step.get("remove")):
        place = (body["metadata"].get("namespace", stage.case.name), body["metadata"]["name"])
        stage.store.delete(KINDS[body["kind"]], place)
    for body in _listed(step.get("patch")):
        place = (body["metadata"].get("namespace", stage.case.name), body["metadata"]["name"])
        stage.patch(KINDS[body["kind"]], place, {"metadata": body["metadata"]}, PERSON)
    for body in documents(stage.case.folder / str(step.get("extra", "none"))):
        _edit(stage, body)
    if step.get("delete"):
        stage.store.delete(POSTGRESQLS, stage.key)
    if {"sync", "restart", "configuration"} & set(step):
        stage.start_operator()
    await stage.settled()


def _listed(value: Any) -> list[dict[str, Any]]:
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]


def _apply(stage: Stage) -> None:
    """As kubectl does with a whole manifest."""
    manifest = stage.case.manifest

    def applied(live: dict[str, Any]) -> dict[str, Any]:
        kept = {key: value for key, value in live["metadata"].items() if key not in ("labels", "annotations")}
        said = {key: manifest["metadata"].get(key) or {} for key in ("labels", "annotations")}
        return {**live, "metadata": {**kept, **said}, "spec": manifest["spec"]}

    stage.store.patch(POSTGRESQLS, stage.key, applied, PERSON)


def _edit(stage: Stage, body: dict[str, Any]) -> None:
    """A person writes over an object, or makes it."""
    resource = KINDS[body["kind"]]
    place = (body["metadata"].get("namespace", stage.case.name), body["metadata"]["name"])
    if stage.store.find(resource, *place) is None:
        stage.make(body, PERSON)
        return
    plain = {
        key: base64.b64encode(str(value).encode()).decode() for key, value in (body.get("stringData") or {}).items()
    }
    patch = {key: value for key, value in body.items() if key != "stringData"}
    stage.patch(resource, place, {**patch, **({"data": plain} if plain else {})}, PERSON)


# disruptions


def _ours(stage: Stage, done: int, commands: int) -> Disruptions:
    deleted = [
        request.resource for request in stage.writes()[done:] if request.verb == "delete" and request.status == 200
    ]
    asked = [command.partition(" ")[0] for command in stage.commands[commands:]]
    return Disruptions(
        deleted.count("pods"), asked.count("switchover"), asked.count("restart"), deleted.count("statefulsets")
    )


def _recorded(stage: Stage, number: int) -> Disruptions:
    """Of the step, and of the pass that ends the recording, if the step was the last one."""
    is_last = number == len(stage.case.facts["steps"]) + 1
    found = [_recorded_once(stage, n) for n in ((number, number + 1) if is_last else (number,))]
    return Disruptions(*(sum(getattr(one, name) for one in found) for name in Disruptions.__slots__))


def _recorded_once(stage: Stage, number: int) -> Disruptions:
    folder = stage.case.folder
    actions = [action for document in documents(folder / f"actions-{number}.yaml") for action in document["actions"]]
    asked = folder / f"patroni-{number}.json"
    requests = [request["request"] for request in json.loads(asked.read_text())] if asked.exists() else []
    return Disruptions(
        sum(action.startswith("delete pods ") for action in actions),
        requests.count("POST /switchover"),
        requests.count("POST /restart"),
        sum(action.startswith("delete statefulsets ") for action in actions),
    )


# what is there at the end


def _compare(stage: Stage, number: int) -> None:
    if phase_of(stage.case.folder, number) in FAILED:
        return  # it stopped on its way, or refused what we take
    totals = Totals()
    recorded = {_id(body): body for body in stage.recorded("objects", number)}
    earlier = {_id(body): body for body in stage.recorded("objects", number - 1)}
    there = {key: _as_recorded(body) for key, body in stage.objects()}
    for key in sorted({*recorded, *(k for k in there if k[0] not in (*MADE_BY_OTHERS, "ControllerRevision"))}):
        if key[0] == "postgresql" or (key not in recorded and _is_nobodys(key, stage)):
            continue
        ours = _restricted(there.get(key), recorded.get(key))
        if ours is not None:
            _drop_of_people(ours, stage)
        compare_object(stage.case, key, (ours, recorded.get(key), earlier.get(key)), totals)
    assert not totals.unexplained, "\n".join(map(str, totals.unexplained))
    assert totals.fields > 100


def _drop_of_people(body: dict[str, Any], stage: Stage) -> None:
    """Annotations that people wrote by hand are theirs."""
    steps = (patch for step in stage.case.facts["steps"] for patch in _listed(step.get("patch")))
    theirs = {key for patch in steps for key in patch["metadata"].get("annotations") or {}}
    annotations = body["metadata"].get("annotations") or {}
    body["metadata"] = {**body["metadata"], "annotations": {k: v for k, v in annotations.items() if k not in theirs}}


def _is_nobodys(key: Id, stage: Stage) -> bool:
    """Made by people beforehand, and left alone."""
    made = documents(stage.case.folder / "extra.yaml")
    return key[2] in {body["metadata"]["name"] for body in made}


def _id(body: Mapping[str, Any]) -> Id:
    return body["kind"], body["metadata"].get("namespace", ""), body["metadata"]["name"]


def _as_recorded(body: Mapping[str, Any]) -> dict[str, Any]:
    """Without what the server, Patroni and the controllers keep in it."""
    found = {key: value for key, value in body.items() if key not in ("status", "data", "subsets")}
    metadata = {key: body["metadata"].get(key) for key in ("name", "namespace", "labels", "ownerReferences")}
    annotations = body["metadata"].get("annotations") or {}
    metadata["annotations"] = {
        key: value
        for key, value in annotations.items()
        if not OF_PATRONI.fullmatch(key) and not key.startswith(("pv.kubernetes.io", "howdah.dev/replace"))
    }
    found["metadata"] = {key: value for key, value in metadata.items() if value}
    if body["kind"] == "StatefulSet":
        claims = [{"metadata": c["metadata"], "spec": c["spec"]} for c in body["spec"]["volumeClaimTemplates"]]
        template = body["spec"]["template"]
        pod = {key: value for key, value in template["spec"].items() if key != "serviceAccount"}
        found["spec"] = {**body["spec"], "template": {**template, "spec": pod}, "volumeClaimTemplates": claims}
    if body["kind"] == "Secret":
        found["stringData"] = {key: _plain(value) for key, value in (body.get("data") or {}).items()}
        found["metadata"]["annotations"] = _of_reference(metadata["annotations"])
    return found


def _plain(encoded: str) -> str:
    text = base64.b64decode(encoded).decode()
    return re.sub(r"\b[A-Za-z0-9]{64}\b", "PASSWORD:64", text)


def _of_reference(annotations: Mapping[str, str]) -> dict[str, str]:
    """Without what we note on Secrets for ourselves."""
    return {key: value for key, value in annotations.items() if not key.startswith("howdah.dev/")}


def _restricted(ours: dict[str, Any] | None, recorded: dict[str, Any] | None) -> dict[str, Any] | None:
    """Of what others made only what the operator writes is recorded: annotations, owners, of a claim the request."""
    if ours is None or recorded is None or ours["kind"] not in MADE_BY_OTHERS or "labels" in recorded["metadata"]:
        return ours
    found = {key: ours[key] for key in ("apiVersion", "kind")} | {"metadata": _without_labels(ours)}
    if "spec" in recorded:
        found["spec"] = {"resources": {"requests": ours["spec"]["resources"]["requests"]}}
    return found


def _without_labels(body: dict[str, Any]) -> dict[str, Any]:
    kept = ("name", "namespace", "annotations", *(() if body["kind"] == "Pod" else ("ownerReferences",)))
    return {key: body["metadata"][key] for key in kept if key in body["metadata"]}


def _compare_remaining(stage: Stage, number: int) -> None:
    """What outlives the resource."""
    (status,) = stage.recorded("status", number)
    left = {f"{KINDS[kind].plural}/{name}" for (kind, _, name), _ in stage.objects()}
    if stage.settings.delete_annotation_date_key:
        assert stage.store.find(POSTGRESQLS, *stage.key) is not None, (
            "the deletion is not confirmed: the resource waits"
        )
        assert left >= set(status["remaining"])
        return
    assert stage.store.find(POSTGRESQLS, *stage.key) is None
    assert {name for name in left if not UNBUILT.search(name)} == {
        n for n in status["remaining"] if not UNBUILT.search(n)
    }

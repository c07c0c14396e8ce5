"""What no pod can be made from is said with its path, before anything is made."""

from typing import Any

import pytest

from howdah.model.errors import InvalidSpec
from howdah.model.manifest import parse_manifest


def problems(**spec: Any) -> dict[str, str]:
    body = {"teamId": "a", "numberOfInstances": 1, "postgresql": {"version": "18"}, "volume": {"size": "1Gi"}, **spec}
    raw = {"apiVersion": "acid.zalan.do/v1", "kind": "postgresql", "metadata": {"name": "a"}, "spec": body}
    try:
        parse_manifest(raw)
    except InvalidSpec as invalid:
        return {problem.path: problem.message for problem in invalid.problems}
    return {}


BUSY = {"name": "a", "image": "busybox"}
PAGES = {"hugepages-2Mi": "128Mi"}


@pytest.mark.parametrize(
    ("spec", "path", "message"),
    [
        ({"initContainers": [BUSY, BUSY]}, "spec.initContainers[1].name", "is there 2 times"),
        ({"initContainers": [{"name": "A B", "image": "x"}]}, "spec.initContainers[0].name", "cannot name a container"),
        ({"initContainers": [{"name": "a"}]}, "spec.initContainers[0]", "has no image"),
        ({"init_containers": [{"name": "a"}]}, "spec.init_containers[0]", "has no image"),
        ({"sidecars": [{"name": "A", "image": "x"}]}, "spec.sidecars[0].name", "cannot name a container"),
        ({"env": [{"name": "A=B", "value": "x"}]}, "spec.env[0].name", "cannot name a variable"),
        (
            {"sidecars": [{"image": "x", "ports": [{"name": "p", "containerPort": 1}, {"name": "p", "containerPort": 2}]}]},
            "spec.sidecars[0].ports[1].name",
            "is there 2 times",
        ),
        ({"sidecars": [{"image": "x", "ports": [{"containerPort": 0}]}]}, "spec.sidecars[0].ports[0].containerPort", "a port"),
        ({"sidecars": [{"image": "x", "ports": [{"containerPort": "80"}]}]}, "spec.sidecars[0].ports[0]", "not an integer"),
        ({"resources": {"requests": PAGES}}, "spec.resources.requests.hugepages-2Mi", "is not the limit"),
        (
            {"resources": {"requests": PAGES, "limits": {"hugepages-2Mi": "1Gi"}}},
            "spec.resources.requests.hugepages-2Mi",
            "is not the limit",
        ),
        ({"podAnnotations": {"a/b/c": "x"}}, "spec.podAnnotations[a/b/c]", "is not the key of an annotation"),
        (
            {"additionalVolumes": [{"name": "v", "mountPath": "", "volumeSource": {}}]},
            "spec.additionalVolumes[0].mountPath",
            "is empty",
        ),
        (
            {"topologySpreadConstraints": [{"maxSkew": "1", "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}]},
            "spec.topologySpreadConstraints[0]",
            "has a maxSkew that is not an integer",
        ),
    ],
)  # fmt: skip
def test_what_kubernetes_would_refuse_is_refused(spec: dict[str, Any], path: str, message: str) -> None:
    assert message in problems(**spec)[path]


@pytest.mark.parametrize(
    "spec",
    [
        {"initContainers": [BUSY], "init_containers": [{"name": "ignored"}]},
        {"resources": {"requests": PAGES, "limits": PAGES}},
        {"resources": {"limits": PAGES}},
        {"sidecars": [{"image": "x", "ports": [{"name": "http-1", "containerPort": 80}, {"containerPort": 81}]}]},
        {"podAnnotations": {"example.com/a": "", "plain_1": "x"}},
    ],
)
def test_what_kubernetes_takes_is_no_problem(spec: dict[str, Any]) -> None:
    assert problems(**spec) == {}

"""What is generated is up to date, kustomize makes what the chart makes, and the pods are as restricted as they can be."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from chart.rendering import ROOT, Json, generator, rendered, run, tool
from howdah import __version__


def test_the_generated_parts_of_the_chart_are_what_the_code_says() -> None:
    made = generator()
    assert not made.outdated(made.chart_parts())


def test_the_kustomize_base_is_what_the_chart_makes() -> None:
    made = generator()
    assert not made.outdated(made.kustomize_parts(str(tool("helm")))), "run `make chart` and read the difference"


def test_kustomize_gives_the_objects_of_the_chart() -> None:
    made = generator()
    done = run(tool("kubectl"), "kustomize", made.BASE)
    assert done.returncode == 0, done.stderr
    by_kustomize = _by_identity([body for body in yaml.safe_load_all(done.stdout) if body])
    assert by_kustomize == _by_identity(made.rendered(str(tool("helm"))))


def test_the_base_lists_every_file_that_it_has() -> None:
    base = generator().BASE
    listed = yaml.safe_load((base / "kustomization.yaml").read_text())["resources"]
    assert sorted(listed) == sorted(
        {"../../charts/howdah/crds", *(path.name for path in base.iterdir() if path.name != "kustomization.yaml")}
    )


def test_the_chart_has_the_version_of_the_program() -> None:
    chart = yaml.safe_load((ROOT / "charts" / "howdah" / "Chart.yaml").read_text())
    assert __version__.startswith(chart["version"])
    assert chart["appVersion"] == chart["version"]


@pytest.mark.parametrize("kind", ["Deployment", "Job"])
def test_pods_pass_the_restricted_pod_security_standard(kind: str) -> None:
    pod = next(o for o in rendered() if o["kind"] == kind)["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert all(set(volume) <= {"name", "emptyDir"} for volume in pod.get("volumes", ()))
    for container in pod["containers"]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["runAsUser"] > 0


def _by_identity(objects: list[Json]) -> dict[tuple[str, str, str], Any]:
    found = {}
    for body in objects:
        metadata = {
            key: value for key, value in body["metadata"].items() if key != "annotations"
        }  # they tell helm something
        labels = {
            k: v
            for k, v in (metadata.get("labels") or {}).items()
            if k not in ("helm.sh/chart", "app.kubernetes.io/managed-by")
        }
        found[body["kind"], metadata.get("namespace", ""), metadata["name"]] = {
            **body,
            "metadata": {**metadata, "labels": labels},
        }
    assert len(found) == len(objects)
    return found

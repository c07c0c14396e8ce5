"""Writes the generated parts of the chart from the code, and the kustomize base from the chart; `--check` says what is old.

The kustomize base is what `helm template` makes of the chart's defaults, so it needs helm (`make kube-tools`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "charts" / "howdah"
BASE = ROOT / "deploy" / "kustomize"
NAMESPACE = RELEASE = "howdah"

sys.path.insert(0, str(ROOT))

from charts.dashboard import dashboard  # noqa: E402
from charts.values_schema import values_schema  # noqa: E402

from howdah.core.permissions import GRANTS, POD_GRANTS, Installation, Place  # noqa: E402
from howdah.model.crds import all_crds  # noqa: E402

NOTICE = "# Made by charts/generate.py. Run `make chart` instead of editing it.\n"


def chart_parts() -> dict[Path, str]:
    """Every generated file of the chart by its path."""
    parts = {CHART / "crds" / f"{crd['spec']['names']['plural']}.yaml": NOTICE + _yaml(crd) for crd in all_crds()}
    parts[CHART / "crds" / "kustomization.yaml"] = NOTICE + _kustomization(*sorted(path.name for path in parts))
    parts[CHART / "files" / "permissions.yaml"] = NOTICE + _yaml(_permissions())
    parts[CHART / "files" / "dashboard.json"] = _json(dashboard())
    parts[CHART / "values.schema.json"] = _json(values_schema())
    return parts


def _permissions() -> Mapping[str, Any]:
    """Rules by place; names that the release decides are marked."""
    marks = {name: f"{{{name}}}" for name in Installation().called}
    rules: dict[str, Any] = {str(place): [g.rule(marks) for g in GRANTS if g.place is place] for place in Place}
    return {**rules, "pods": [grant.rule({}) for grant in POD_GRANTS]}


def kustomize_parts(helm: str) -> dict[Path, str]:
    """The base: one file per kind, of the chart with its default values."""
    by_kind: dict[str, list[Any]] = defaultdict(list)
    for body in rendered(helm):
        labels = body["metadata"].get("labels") or {}
        for label in ("helm.sh/chart", "app.kubernetes.io/managed-by"):
            labels.pop(label, None)
        body["metadata"].pop("annotations", None)  # they tell helm something
        by_kind[body["kind"]].append(body)
    by_kind.pop("CustomResourceDefinition")  # they are in the chart
    files = {
        f"{kind.lower()}.yaml": "".join(f"---\n{_yaml(body)}" for body in bodies) for kind, bodies in by_kind.items()
    }
    files["kustomization.yaml"] = _kustomization("../../charts/howdah/crds", *sorted(files), namespace=NAMESPACE)
    return {BASE / name: NOTICE + text for name, text in files.items()}


def _kustomization(*resources: str, namespace: str = "") -> str:
    head = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    return _yaml({**head, **({"namespace": namespace} if namespace else {}), "resources": list(resources)})


def rendered(helm: str, *arguments: str) -> list[dict[str, Any]]:
    """What the chart makes, without hooks."""
    command = [
        helm,
        "template",
        RELEASE,
        str(CHART),
        "--namespace",
        NAMESPACE,
        "--include-crds",
        "--no-hooks",
        *arguments,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)  # noqa: S603 - our own arguments
    return [body for body in yaml.safe_load_all(done.stdout) if body]


def _yaml(body: Any) -> str:
    return yaml.safe_dump(body, sort_keys=False, default_flow_style=False, allow_unicode=True, width=1000)


def _json(body: Any) -> str:
    return json.dumps(body, indent=1, ensure_ascii=False) + "\n"


def outdated(parts: Mapping[Path, str]) -> list[Path]:
    """Files that are missing or say something else than the code."""
    return [path for path, text in parts.items() if not path.is_file() or path.read_text() != text]


def write(parts: Mapping[Path, str]) -> None:
    for path, text in parts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def main() -> None:
    """Write, or check. HELM names the program; without it the kustomize base is left as it is."""
    helm = os.environ.get("HELM", "")
    steps = [chart_parts, *((lambda: kustomize_parts(helm),) if helm else ())]
    for parts in steps:
        made = parts()
        if "--check" not in sys.argv[1:]:
            write(made)
        elif old := outdated(made):
            sys.exit(
                f"out of date: {', '.join(str(p.relative_to(ROOT)) for p in old)}; run `make chart`, read the difference"
            )


if __name__ == "__main__":
    main()

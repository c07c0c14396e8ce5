"""What the chart makes of values, with helm as it is built by `make kube-build-tools`."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = "ops"
CHART = ROOT / "charts" / "howdah"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "howdah" / "kube"
IS_WANTED = os.environ.get("HOWDAH_WITH_KUBERNETES") == "1"  # then a missing one is a failure

Json = dict[str, Any]


def tool(name: str) -> Path:
    """The newest one that was built; without it the test is left out, where that is allowed."""
    found = sorted(CACHE.glob(f"*/bin/{name}"))
    if not found and not IS_WANTED:
        pytest.skip(f"no {name} is built: `make kube-build-tools` (Go)")
    assert found, f"{name} is not built: make kube-build-tools"
    return found[-1]


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


def generator() -> ModuleType:
    """charts/generate.py, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("chart_generate", ROOT / "charts" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def helm(values: Json, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`helm template` with these values."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(values, file)
        file.flush()
        return run(
            tool("helm"), "template", "howdah", CHART, "--namespace", NAMESPACE, "--values", file.name, *arguments
        )


def rendered(values: Json | None = None, *arguments: str) -> list[Json]:
    """The objects, hooks included."""
    done = helm(values or {}, *arguments)
    assert done.returncode == 0, done.stderr
    return [body for body in yaml.safe_load_all(done.stdout) if body]


def refusal(values: Json) -> str:
    """What helm says about values that it must not take."""
    done = helm(values)
    assert done.returncode != 0, "helm takes these values"
    return done.stderr


def one(objects: list[Json], kind: str, name: str = "") -> Json:
    """The only object of that kind (and name)."""
    found = [o for o in objects if o["kind"] == kind and name in ("", o["metadata"]["name"])]
    assert len(found) == 1, f"{len(found)} of {kind} {name}: {[o['metadata']['name'] for o in objects]}"
    return found[0]

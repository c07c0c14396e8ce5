"""What a golden case renders to: the objects as they would be created, Secrets without data, and what else was decided."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from howdah.core.objects.build import build
from howdah.core.objects.metadata import ordered
from howdah.core.objects.secrets import secret
from howdah.core.resolve import resolve
from howdah.model.settings import Settings, default_settings, settings_from_configmap

HERE = Path(__file__).parent


def cases() -> list[Path]:
    """Every folder with a manifest."""
    return sorted(manifest.parent for manifest in HERE.glob("*/manifest.yaml"))


def rendered(case: Path) -> dict[str, str]:
    """The text of each golden file of a case."""
    cluster = resolve(yaml.safe_load((case / "manifest.yaml").read_text()), _settings(case))
    secrets = [secret(request) for request in (*cluster.secrets, *(pooler.user_list for pooler in cluster.poolers))]
    if cluster.environment_secret is not None:
        secrets.append(secret(cluster.environment_secret))
    decided = {"dynamic": cluster.dynamic, "warnings": [str(warning) for warning in cluster.warnings]}
    return {"objects.yaml": _text([*secrets, *build(cluster)]), "decided.yaml": _text([decided])}


def _settings(case: Path) -> Settings:
    file = case / "configmap.yaml"
    if not file.exists():
        return default_settings()[0]
    return settings_from_configmap(yaml.safe_load(file.read_text())["data"])[0]


def _text(bodies: Iterable[Any]) -> str:
    return "---\n".join(yaml.safe_dump(ordered(body), sort_keys=True, width=1000) for body in bodies)

"""The docs are true: pages are those of the code, links lead somewhere, commands exist."""

import importlib.util
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer.main

from howdah.cli.main import app
from howdah.core.status import CONDITIONS
from howdah.model import names
from howdah.model.settings import OPTIONS

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
SKIPPED = {".venv", ".git", "node_modules", "build", "dist"}


def load_generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["docs_generate"] = module
    spec.loader.exec_module(module)
    return module


GENERATOR = load_generator()
PAGES: dict[Path, str] = GENERATOR.rendered()


@pytest.mark.parametrize("path", sorted(PAGES), ids=lambda path: path.name)
def test_page_is_what_the_code_says(path: Path) -> None:
    assert path.read_text() == PAGES[path], "run `make docs` and read the difference"


def test_page_that_was_edited_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("old")
    assert GENERATOR.outdated({page: "new", tmp_path / "missing.md": "x"}) == [page, tmp_path / "missing.md"]


def test_every_option_is_documented_with_a_meaning() -> None:
    text = (REFERENCE / "settings.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| ([^|]*) \|$", text, flags=re.MULTILINE))
    assert [name for name in OPTIONS if not rows.get(name)] == []


def test_no_option_shows_a_credential() -> None:
    text = (REFERENCE / "settings.md").read_text()
    secret = [name for name, option in OPTIONS.items() if option.is_secret]
    assert secret
    assert [name for name in secret if not re.search(rf"`{name}` .*never shown", text)] == []


def test_every_command_and_option_is_documented() -> None:
    text = (REFERENCE / "cli.md").read_text()
    missing = [
        f"{path} {option}"
        for path, command in commands()
        for option in ("", *(name for p in command.params if p.param_type_name == "option" for name in p.opts))
        if f"## `{path}`" not in text or (option and f"`{option}`" not in text)
    ]
    assert missing == []


def test_every_metric_is_documented() -> None:
    text = (REFERENCE / "metrics.md").read_text()
    source = (ROOT / "src/howdah/controller/metrics.py").read_text()
    defined = set(re.findall(r'"(howdah_\w+)"', source))
    assert len(defined) > 5
    assert [name for name in defined if f"`{name}`" not in text] == []


def test_every_condition_and_its_reasons_are_documented() -> None:
    text = (REFERENCE / "conditions.md").read_text()
    documented = set(re.findall(r"^\| `(\w+)` \| `(?:True|False|Unknown)` \|", text, flags=re.MULTILINE))
    always = {"Ready", "Progressing", "Degraded", "RestartPending", "CredentialsInSync"}
    told = {"PoolersReady", "UpgradePending", "LeaderMovePending"}  # only where they concern a cluster
    assert documented == always | told
    assert len(documented) == len(CONDITIONS)


@pytest.mark.parametrize(
    "key",
    [names.CLUSTER, names.PAUSE, names.ADOPTED, names.DISRUPTION, names.REPLACE_REASON, names.ROLLING_UPDATE_REQUIRED],
)
def test_annotation_is_documented(key: str) -> None:
    assert f"| `{key}` |" in (REFERENCE / "conditions.md").read_text()


def test_every_field_of_the_examples_is_in_the_manifest_page() -> None:
    import yaml

    text = (REFERENCE / "manifest.md").read_text()
    spec = yaml.safe_load((ROOT / "examples" / "complete.yaml").read_text())["spec"]
    assert [name for name in spec if f"`{name}`" not in text] == []


def markdown() -> list[Path]:
    return sorted(path for path in ROOT.rglob("*.md") if not SKIPPED & set(path.relative_to(ROOT).parts))


@pytest.mark.parametrize("path", markdown(), ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_lead_somewhere(path: Path) -> None:
    broken = [
        target
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", without_code(path.read_text()))
        if "://" not in target and not target.startswith("mailto:") and not (path.parent / target).exists()
    ]
    assert broken == []


def without_code(text: str) -> str:
    return re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL)


@pytest.mark.parametrize("path", markdown(), ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_in_code_blocks_exist(path: Path) -> None:
    known = {tuple(called.split()[1:]): command for called, command in commands()}
    unknown = [line for line in howdah_lines(path.read_text()) if not exists(line, known)]
    assert unknown == []


def howdah_lines(text: str) -> Iterator[str]:
    for block in re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL):
        for line in block.splitlines():
            found = re.search(r"(?:^|[\s/$(])(?:howdah|kubectl pg) (.*)", line.partition(" #")[0])
            if found and not line.startswith(("#", " ")):
                yield found[1].partition("|")[0]


def exists(line: str, known: dict[tuple[str, ...], Any]) -> bool:
    words = shlex.split(line)
    command = known.get(tuple(words[:2])) or known.get(tuple(words[:1]))
    if command is None:
        return words[:1] in (["--help"],)
    options = {name for p in command.params for name in p.opts} | {"--help"}
    passes_on = command.name == "psql"
    return passes_on or all(word.partition("=")[0] in options for word in words if word.startswith("-") and word != "-")


def commands() -> list[tuple[str, Any]]:
    return list(GENERATOR._commands(typer.main.get_command(app), "howdah"))


def test_unknown_command_in_a_code_block_would_be_found() -> None:
    known = {tuple(called.split()[1:]): command for called, command in commands()}
    assert exists("plan examples/minimal.yaml -o json", known)
    assert not exists("plans examples/minimal.yaml", known)
    assert not exists("plan --nonsense", known)

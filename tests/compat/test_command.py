"""`make compat CASES=DIR` tells a folder that holds from one that does not, by exit code and one last line."""

import json
import shutil
from pathlib import Path

import pytest

from compat.__main__ import main
from compat.compare import CASES


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(CASES / "users-flags", tmp_path / "users-flags")
    return tmp_path


def test_a_folder_that_holds(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder)]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("1 cases")
    assert "0 differ without explanation; 1 catalogues" in line


def test_every_difference_without_explanation_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = folder / "users-flags"
    catalogue = json.loads((case / "catalogue.json").read_text())
    name = next(name for name, role in catalogue["roles"].items() if "login" in role["flags"] and name != "postgres")
    catalogue["roles"][name]["flags"].remove("login")
    (case / "catalogue.json").write_text(json.dumps(catalogue))
    objects = (case / "objects.yaml").read_text()
    (case / "objects.yaml").write_text(
        objects.replace("clusterIP: None", "clusterIP: Some").replace("-repl\n", "-rapl\n")
    )
    assert main([str(folder)]) == 1
    *told, last = capsys.readouterr().out.splitlines()
    assert any("-rapl" in line for line in told)
    assert any(f"roles {name} flags" in line for line in told)
    assert last.startswith("1 cases")


def test_a_folder_without_cases(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert main([str(tmp_path / "nowhere")]) == 2
    assert "no cases in" in capsys.readouterr().out

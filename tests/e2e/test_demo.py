"""The demo as a person runs it: `howdah local up examples/minimal.yaml`, what it prints is pasted, and nothing is left."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.local_world import ending, public_folder
from lifetimes import guarded

pytestmark = pytest.mark.local_platform("`howdah local` itself")
ROOT = Path(__file__).parents[2]
CLUSTER = "acid-minimal-cluster"
MEMBERS = {f"{CLUSTER}-0", f"{CLUSTER}-1"}


def howdah(*arguments: str, kubeconfig: Path | None = None, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    environment.pop("KUBECONFIG", None)
    if kubeconfig is not None:
        environment["KUBECONFIG"] = str(kubeconfig)
    command = [sys.executable, "-m", "howdah.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, env=environment, check=False)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    parent = public_folder()
    with guarded(*ending(parent / "p")):
        yield parent / "p"
        done = howdah("local", "down", "--remove", "--dir", str(parent / "p"))
    assert done.returncode == 0, done.stderr
    parent.rmdir()  # fails where anything is left


@pytest.fixture(scope="module")
def output(folder: Path) -> str:
    done = howdah("local", "up", str(ROOT / "examples" / "minimal.yaml"), "--dir", str(folder), timeout_s=110)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def kubeconfig(output: str) -> Path:
    found = re.search(r"^  export KUBECONFIG=(.*)$", output, flags=re.MULTILINE)
    assert found, output
    return Path(found[1])


def test_it_ends_by_saying_that_both_members_stream(output: str) -> None:
    assert re.search(rf"^  {CLUSTER}-\d  leads, accepts writes$", output, flags=re.MULTILINE), output
    assert re.search(rf"^  {CLUSTER}-\d  streams$", output, flags=re.MULTILINE), output
    assert "\033" not in output  # no terminal, no colour


def test_psql_line_works_when_pasted(output: str) -> None:
    line = next(line.strip() for line in output.splitlines() if line.strip().startswith("PGPASSFILE="))
    done = subprocess.run(
        ["bash", "-c", f"{line} -At -c 'create table demo (id int); select current_user, current_database()'"],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.stdout.splitlines()[-1:] == ["zalando|foo"], done.stderr


def test_no_command_but_url_shows_a_password(output: str, kubeconfig: Path) -> None:
    password = (kubeconfig.parent / "pgpass").read_text().strip().rpartition(":")[2]
    said = {
        "up": output,
        "status": howdah("status", CLUSTER, "-o", "json", kubeconfig=kubeconfig).stdout,
        "plan": howdah("plan", "-o", "json", kubeconfig=kubeconfig).stdout,
        "explain": howdah("explain", CLUSTER, "-o", "json", kubeconfig=kubeconfig).stdout,
    }
    assert len(password) > 20
    assert [command for command, text in said.items() if password in text or not text] == []
    url = howdah("url", CLUSTER, "-U", "zalando", "-d", "foo", kubeconfig=kubeconfig).stdout
    assert f":{password}@" in url


def test_a_settled_cluster_has_an_empty_plan_and_says_when_the_operator_looks_again(kubeconfig: Path) -> None:
    plans = json.loads(howdah("plan", "-o", "json", kubeconfig=kubeconfig).stdout)
    assert [(plan["name"], plan["steps"], plan["problems"], plan["notes"]) for plan in plans] == [(CLUSTER, [], [], [])]
    said = howdah("explain", CLUSTER, kubeconfig=kubeconfig).stdout
    assert "operator: operator-0 acts" in said
    assert "next look: " in said


def test_plan_of_a_changed_manifest_says_the_change_and_does_nothing(kubeconfig: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "changed.yaml"
    text = (ROOT / "examples" / "minimal.yaml").read_text()
    manifest.write_text(text.replace("numberOfInstances: 2", "numberOfInstances: 3"))
    said = howdah("plan", str(manifest), kubeconfig=kubeconfig)
    assert "spec.replicas is 2 and shall be 3" in said.stdout
    after = json.loads(howdah("status", CLUSTER, "-o", "json", kubeconfig=kubeconfig).stdout)
    assert after["members"]["wanted"] == 2


def test_switchover_makes_the_other_member_lead(kubeconfig: Path) -> None:
    before = json.loads(howdah("status", CLUSTER, "-o", "json", kubeconfig=kubeconfig).stdout)["leader"]
    done = howdah("switchover", CLUSTER, kubeconfig=kubeconfig)
    (other,) = MEMBERS - {before}
    assert done.returncode == 0, done.stderr
    assert f"{other} leads after" in done.stdout
    sql = "select not pg_is_in_recovery()"
    assert howdah("psql", CLUSTER, "-At", "-c", sql, kubeconfig=kubeconfig).stdout.strip() == "t"


def test_what_is_not_there_ends_with_code_3(kubeconfig: Path) -> None:
    for words in (("status", "nothing"), ("plan", "nothing"), ("explain", "nothing"), ("url", "nothing")):
        assert howdah(*words, kubeconfig=kubeconfig).returncode == 3, words
    assert howdah("url", CLUSTER, "-U", "nobody", kubeconfig=kubeconfig).returncode == 3


def test_missing_major_is_refused_before_anything_is_started(tmp_path: Path) -> None:
    manifest = tmp_path / "old.yaml"
    manifest.write_text((ROOT / "examples" / "minimal.yaml").read_text().replace('version: "18"', 'version: "7"'))
    done = howdah("local", "up", str(manifest), "--dir", str(tmp_path / "p"))
    assert done.returncode == 2
    assert "PostgreSQL 7 is not on this machine; present: " in done.stderr
    assert not (tmp_path / "p").exists()

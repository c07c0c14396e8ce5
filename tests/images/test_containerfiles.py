"""The Containerfiles, as written: what they build on, who they run as, what is pinned; others name the same images."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from howdah.cli.local import ROLES
from howdah.local.node.images import role
from howdah.model import names

ROOT = Path(__file__).resolve().parents[2]
IMAGES = sorted(path.parent.name for path in (ROOT / "images").glob("*/Containerfile"))
OF_PODS = ("instance", "logical-backup", "pooler")
REQUIREMENTS = {"operator": "operator", "instance": "instance", "pooler": "pooler", "logical-backup": "backup"}
USERS = {
    "operator": "1000:1000",
    "instance": "101:103",
    "logical-backup": "1000:1000",
    "pooler": f"{names.POOLER_IMAGE_USER}:{names.POOLER_IMAGE_GROUP}",
}
# What the process imports at once, and what it imports or starts later.
IMPORTS = {
    "operator": ("howdah.cli.main", "howdah.cli.operator", "howdah.controller.main"),
    "instance": (
        "howdah.instance.main",
        "patroni.__main__",
        "patroni.ctl",
        "patroni.dcs.kubernetes",
        "cryptography.x509",
    ),
    "pooler": ("howdah.instance.pooler", "cryptography.x509"),
    "logical-backup": ("howdah.instance.backup.job",),
}


def instructions(image: str) -> list[tuple[str, str]]:
    """Of the Containerfile: (word, rest), lines joined."""
    text = (ROOT / "images" / image / "Containerfile").read_text()
    joined = re.sub(r"\\\n", " ", "\n".join(line for line in text.splitlines() if not line.startswith("#")))
    return [(line.split()[0].upper(), line.partition(" ")[2].strip()) for line in joined.splitlines() if line.strip()]


def last_stage(image: str) -> dict[str, str]:
    made = instructions(image)
    start = max(index for index, (word, _) in enumerate(made) if word == "FROM")
    return dict(made[start:])


def scripts() -> Iterator[str]:
    for path in sorted((ROOT / "images").rglob("*")):
        if path.name == "Containerfile" or path.suffix in (".sh", ".mk"):
            yield path.read_text()


def test_there_are_four_images() -> None:
    assert IMAGES == ["instance", "logical-backup", "operator", "pooler"]


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_runs_as_a_numbered_user_who_is_not_root(image: str) -> None:
    assert last_stage(image)["USER"] == USERS[image]  # Kubernetes cannot judge a name


@pytest.mark.parametrize("image", IMAGES)
def test_the_base_is_an_argument_and_nothing_else_is_built_on(image: str) -> None:
    made = instructions(image)
    assert made[0][0] == "ARG"
    assert made[0][1].startswith("BASE=")
    stages = [rest.split(" AS ") for word, rest in made if word == "FROM"]
    known = {"${BASE}", "scratch", *(stage[1] for stage in stages if len(stage) == 2)}
    assert {stage[0] for stage in stages} <= known
    assert len(stages) > 1  # what builds is not in what runs
    copied = [rest.split() for word, rest in made if word == "COPY"]
    assert {words[0].removeprefix("--from=") for words in copied if words[0].startswith("--")} <= known


@pytest.mark.parametrize("image", IMAGES)
def test_only_the_repository_is_copied_and_nothing_is_fetched_unseen(image: str) -> None:
    made = instructions(image)
    assert "ADD" not in dict(made)
    for word, rest in made:
        if word == "COPY" and not rest.startswith("--"):
            assert all((ROOT / source).exists() for source in rest.split()[:-1]), rest
            assert all(source.startswith(("images/", "requirements/", "src/howdah")) for source in rest.split()[:-1]), (
                rest
            )
    assert not any(re.search(r"https?://|curl |wget ", rest) for _, rest in made)


def test_what_is_sent_to_the_builder_is_only_what_images_are_made_of() -> None:
    lines = (ROOT / ".dockerignore").read_text().split()
    assert lines[0] == "*"
    assert {line for line in lines if line.startswith("!")} == {"!images", "!requirements", "!src/howdah"}


@pytest.mark.parametrize("image", IMAGES)
def test_no_secret_has_a_place(image: str) -> None:
    for word, rest in instructions(image):
        if word in ("ARG", "ENV", "LABEL"):
            assert re.search(r"PASS|SECRET|TOKEN|KEY|CREDENTIAL", rest.upper()) is None, rest


@pytest.mark.parametrize("image", IMAGES)
def test_every_distribution_is_pinned_by_hash(image: str) -> None:
    file = ROOT / "requirements" / f"{REQUIREMENTS[image]}.txt"
    copied = " ".join(rest for word, rest in instructions(image) if word == "COPY")
    assert f"requirements/{file.name}" in copied
    for requirement in re.split(r"\n(?=\w)", file.read_text().strip()):
        assert re.match(r"[a-z0-9-]+==\S+", requirement), requirement
        assert "--hash=sha256:" in requirement, requirement


def test_pip_takes_nothing_without_a_hash() -> None:
    calls = [
        line for text in scripts() for line in text.splitlines() if "pip install " in line and not line.startswith("#")
    ]
    assert calls
    assert all("--require-hashes" in line for line in calls)


@pytest.mark.parametrize("image", IMAGES)
def test_each_step_that_asks_for_packages_is_told_how_the_machine_reaches_them(image: str) -> None:
    """By a secret, which is in no layer: programs that build have no other way in common."""
    steps = [rest for word, rest in instructions(image) if word == "RUN"]
    asking = [step for step in steps if re.search(r"/(packages|install)\.sh|/python\.sh dependencies", step)]
    assert len(asking) >= 2
    assert all(step.startswith("--mount=type=secret,id=machine ") for step in asking), asking
    assert not any("--mount" in step for step in steps if step not in asking)
    scripts_that_ask = [
        text for text in scripts() if re.search(r"^\s*(apt-get|install\(\)|python3 -m pip) ", text, re.MULTILINE)
    ]
    assert len(scripts_that_ask) >= 4
    assert all("/machine.sh" in text or "after machine.sh" in text for text in scripts_that_ask)


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_says_what_it_is(image: str) -> None:
    labels = dict(re.findall(r'(\S+)="([^"]*)"', last_stage(image)["LABEL"]))
    assert labels["org.opencontainers.image.title"] == f"howdah {image.replace('-', ' ')}"
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert ("dev.howdah.postgresql.majors" in labels) == any("${PG_MAJORS}" in rest for _, rest in instructions(image))


@pytest.mark.parametrize("image", IMAGES)
def test_what_an_image_imports_is_among_its_distributions(image: str) -> None:
    ask = "import sys\n" + "".join(f"import {name}\n" for name in IMPORTS[image])
    ask += "print(*{name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names))"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, timeout=60, check=True)
    owners = importlib.metadata.packages_distributions()
    needed = {owners[name][0].lower().replace("_", "-") for name in done.stdout.split() if name in owners}
    pinned = set(
        re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements" / f"{REQUIREMENTS[image]}.txt").read_text(), re.MULTILINE)
    )
    assert needed - pinned <= {"howdah", "setuptools"}  # setuptools: of the environment of the tests


def test_the_chart_names_the_images_that_are_built() -> None:
    values = yaml.safe_load((ROOT / "charts" / "howdah" / "values.yaml").read_text())
    helpers = (ROOT / "charts" / "howdah" / "templates" / "_helpers.tpl").read_text()
    assert values["image"]["repository"] == f"{values['images']['repository']}/operator"
    assert sorted(re.findall(r'"howdah.ours" \(dict "root" \. "name" "([a-z-]+)"\)', helpers)) == sorted(OF_PODS)
    assert sorted({*OF_PODS, "operator"}) == IMAGES


@pytest.mark.parametrize("image", OF_PODS)
def test_the_local_platform_runs_what_the_image_runs(image: str) -> None:
    words = yaml.safe_load(last_stage(image)["ENTRYPOINT"])
    here = ROLES[role(f"ghcr.io/howdah/{image}:1")]
    assert words[0] == "python3"
    assert [word for word in words[1:] if word != "-P"] == list(here[1:])


def test_a_pooler_is_told_to_end_after_its_transactions() -> None:
    assert last_stage("pooler")["STOPSIGNAL"] == "SIGINT"


def test_our_package_can_be_read_by_every_user_whatever_the_mask_of_the_checkout_was(tmp_path: Path) -> None:
    source, root = tmp_path / "howdah", tmp_path / "root"
    source.mkdir(mode=0o700)
    (source / "__init__.py").touch(mode=0o600)
    command = [ROOT / "images" / "python.sh", "howdah", root, source, "howdah=howdah.main:run"]
    subprocess.run(command, check=True, timeout=60, umask=0o022)
    made = [path for path in root.rglob("*") if path.name != "root"]
    assert {path.suffix for path in made if path.is_file()} == {".py", ".pyc", ""}
    assert [path for path in made if path.stat().st_mode & 0o044 != 0o044] == []


def test_without_a_program_that_builds_one_line_says_what_to_install(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("bash", "dirname", "mkdir", "realpath", "sed"):
        (programs / name).symlink_to(str(shutil.which(name)))
    done = subprocess.run(
        [ROOT / "images" / "build.sh", tmp_path / "archives"],
        env={"PATH": str(programs)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "install one (Debian, as root: apt-get install buildah)" in done.stderr

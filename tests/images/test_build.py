"""images/build.sh with each program that builds and works here: the same images, and no more of them kept than the last."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from images.container import IS_WANTED, PATIENCE_S, ROOT

PROGRAMS = ("buildah", "podman", "docker")
# Without a base, for none is here: a stage whose files the image takes, and what build.sh wants to find in it.
CONTAINERFILE = """\
FROM scratch AS program
COPY src/howdah /program
COPY images/operator/bill /bill
FROM scratch
ARG COLOUR=none
LABEL dev.howdah.colour="${COLOUR}"
USER 1000:1000
ENTRYPOINT ["howdah"]
COPY --from=program /program /usr/local/lib/howdah
COPY --from=program /bill /usr/share/sbom/howdah.cdx.json
"""

pytestmark = [
    pytest.mark.images,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not IS_WANTED, reason="images are not asked for: HOWDAH_WITH_IMAGES=1"),
]


@dataclass(frozen=True, slots=True)
class Tree:
    """A small source tree, and a store of its own for the programs that can have one (docker's is its daemon's)."""

    root: Path
    program: str

    @property
    def environment(self) -> dict[str, str]:
        given = {name: value for name, value in os.environ.items() if not name.startswith(("IMAGES_", "BUILD_ARGS"))}
        return {
            **given,
            "ENGINE": self.program,
            "CONTAINERS_STORAGE_CONF": str(self.root / "storage.conf"),
            "XDG_CACHE_HOME": str(self.root / "cache"),
        }

    @property
    def archive(self) -> Path:
        return self.root / "archives" / "operator.tar"

    def write(self, source: str) -> None:
        (self.root / "src/howdah/__init__.py").write_text(f'__version__ = "1.0"\nsource = {source!r}\n')

    def build(self, **more: str) -> str:
        environment = {**self.environment, "IMAGES_PREFIX": f"localhost/howdah-test-{os.getpid()}", **more}
        return said([str(self.root / "images/build.sh"), str(self.root / "archives"), "operator"], environment)

    def ask(self, *arguments: str) -> list[str]:
        return said([self.program, *arguments], self.environment).split()

    def unnamed(self) -> set[str]:
        return set(self.ask("images", "--all", "--quiet", "--no-trunc", "--filter", "dangling=true"))


def said(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S * 2, check=False)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


def works(program: str) -> bool:
    command = shutil.which(program)
    return command is not None and subprocess.run([command, "info"], capture_output=True, check=False).returncode == 0


def tree(folder: Path, program: str) -> Tree:
    root = folder / program
    for place in ("images/operator", "requirements", "src/howdah"):
        (root / place).mkdir(parents=True)
    for name in ("archive.py", "build.sh"):
        shutil.copy(ROOT / "images" / name, root / "images" / name)
    (root / "images/operator/Containerfile").write_text(CONTAINERFILE)
    (root / "images/operator/bill").write_text("{}\n")
    store = f'graphroot = "{root}/store"\nrunroot = "{root}/run"\n'
    (root / "storage.conf").write_text(f'[storage]\ndriver = "overlay"\n{store}')
    made = Tree(root, program)
    made.write("first")
    return made


def test_every_program_that_builds_here_makes_the_same_image(tmp_path: Path) -> None:
    programs = [program for program in PROGRAMS if works(program)]
    assert "buildah" in programs, "the images that were asked for without a registry are built by buildah"
    trees = [tree(tmp_path, program) for program in programs]
    for one in trees:
        assert str(one.archive) in one.build(BUILD_ARGS="COLOUR=deep blue")
        assert "up to date" in one.build(BUILD_ARGS="COLOUR=deep blue")
        compare = [sys.executable, str(ROOT / "images/archive.py"), "compare", str(trees[0].archive), str(one.archive)]
        assert said(compare, one.environment) == ""
        one.ask("rmi", "--force", f"localhost/howdah-test-{os.getpid()}/operator:1.0")


def test_what_the_build_before_made_goes_but_for_what_has_a_name(tmp_path: Path) -> None:
    one = tree(tmp_path, "buildah")
    one.build()
    named = f"localhost/howdah-test-{os.getpid()}/operator:1.0"
    (first,) = one.ask("images", "--quiet", "--no-trunc", named)
    kept = one.unnamed()
    assert kept, "the stage that the image is made of"
    one.ask("tag", named, "localhost/kept:1")
    for source in ("second", "third"):
        one.write(source)
        one.build()
        assert len(one.unnamed()) == len(kept)
    assert one.ask("images", "--quiet", "--no-trunc", "localhost/kept:1") == [first]
    one.write("third")
    before = one.unnamed()
    one.build(FRESH="", BUILD_ARGS="COLOUR=red")
    assert one.unnamed() == before, "a stage that was found again is no leftover"

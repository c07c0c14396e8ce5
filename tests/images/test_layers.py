"""A step that was built before is not built again, also on a base that was made here and not pulled."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from images.container import IS_WANTED, PATIENCE_S, ROOT

pytestmark = [pytest.mark.images, pytest.mark.timeout(120)]


@pytest.mark.skipif(not IS_WANTED, reason="images are not asked for: HOWDAH_WITH_IMAGES=1")
def test_a_step_on_a_base_that_was_made_here_is_found_again(tmp_path: Path) -> None:
    assert shutil.which("buildah"), "the images that were asked for without a registry are built by buildah"
    (tmp_path / "file").write_text("a file")
    (tmp_path / "Containerfile").write_text("FROM localhost/base:1\nCOPY file /file\n")
    with tarfile.open(tmp_path / "root.tar", "w") as root:
        root.add(tmp_path / "file", "in-the-base")
    program = [sys.executable, ROOT / "e2e" / "kubernetes" / "image.py", "localhost/base:1"]
    with (tmp_path / "root.tar").open() as layer, (tmp_path / "base.tar").open("w") as archive:
        subprocess.run(program, stdin=layer, stdout=archive, timeout=PATIENCE_S, check=True)
    try:
        buildah(tmp_path, "pull", "-q", f"docker-archive:{tmp_path}/base.tar")
        build = ("bud", "--layers", "--format", "docker", "--pull-never", str(tmp_path))
        assert "Using cache" not in buildah(tmp_path, *build)
        assert "Using cache" in buildah(tmp_path, *build)
    finally:
        buildah(tmp_path, "rmi", "--all", "--force")


def buildah(folder: Path, *arguments: str) -> str:
    """What it said. Its store is in `folder`."""
    own = ["--root", str(folder / "store"), "--runroot", str(folder / "run")]
    done = subprocess.run(
        ["buildah", *own, *arguments],
        env={**os.environ, "BUILDAH_ISOLATION": "chroot"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout

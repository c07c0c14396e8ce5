"""The release before this one: what is upgraded from, and rolled back to.

It is the tag or commit of HOWDAH_PREVIOUS; without it the last tag before this commit, else its parent.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def previous_release() -> str:
    """The name of a tag or commit; raises where the history is not there."""
    if (asked := os.environ.get("HOWDAH_PREVIOUS")) is not None:
        return asked
    tag = git("describe", "--tags", "--abbrev=0", "HEAD~1")
    return tag.stdout.strip() if tag.returncode == 0 else "HEAD~1"


def git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def unpacked(revision: str, what: str, folder: Path) -> Path:
    """The release's `src`, `charts` or the like, in `folder`."""
    archive = folder / "source.tar"
    packed = git("archive", "--output", str(archive), revision, what)
    assert packed.returncode == 0, f"no {what} of {revision} (is the clone shallow?): {packed.stderr}"
    subprocess.run(["tar", "-xf", archive, "-C", folder], check=True, timeout=60)
    return folder / what

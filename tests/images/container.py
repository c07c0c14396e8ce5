"""A built image, unpacked, and processes in it as restricted Pod Security lets them be.

Not root, no new privileges, nothing writable but what is mounted. Needs root (mounts, chroot), and no container runtime.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import IO, Any

import pytest

from lifetimes import ended_with_us

ROOT = Path(__file__).resolve().parents[2]
OF_USER = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
CACHE = Path(os.environ.get("IMAGES_DIR") or OF_USER / "howdah" / "images")  # as images.mk has it
IS_WANTED = os.environ.get("HOWDAH_WITH_IMAGES") == "1"
PATIENCE_S = 60

Json = dict[str, Any]


def archives() -> ModuleType:
    """images/archive.py, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("images_archive", ROOT / "images" / "archive.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["images_archive"] = module
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True, slots=True)
class Image:
    """One image: its file system in `root`, its configuration, sizes in bytes."""

    name: str
    root: Path
    configuration: Mapping[str, Any]
    uncompressed: int

    @property
    def environment(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.configuration["Env"])

    @property
    def entry_point(self) -> list[str]:
        return [*self.configuration["Entrypoint"], *(self.configuration["Cmd"] or ())]

    def start(
        self,
        command: Sequence[str],
        *,
        user: str = "",
        environment: Mapping[str, str] | None = None,
        writable: Sequence[str] = (),
        files: Mapping[str, Path] | None = None,
        log: IO[bytes] | None = None,
    ) -> subprocess.Popen[str]:
        """A process in the image. `writable`: folders with an emptyDir; `files`: path in it → file that is mounted there.

        With a `log` it is the first of its own processes, as in a container: all of them end with what is returned.
        """
        place, who = shlex.quote(str(self.root)), user or self.configuration["User"]
        script = [
            "set -e",
            f"mount --bind {place} {place}",
            *(
                f"touch {place}{path}; mount --bind {shlex.quote(str(file))} {place}{path}"
                for path, file in (files or {}).items()
            ),
            f"mount -o remount,bind,ro {place}",
            f"mount --rbind /dev {place}/dev",
            f"mount -t proc proc {place}/proc",
            *(f"mount -t tmpfs -o mode=1777 tmpfs {place}{folder}" for folder in writable),
            f"cd {place}",
            f"exec setpriv --no-new-privs chroot --groups= --userspec={who} {place} {shlex.join(command)}",
        ]
        alone = ("--pid", "--fork", "--kill-child") if log else ()
        return subprocess.Popen(
            ended_with_us("unshare", "--mount", *alone, "--propagation", "private", "sh", "-c", "\n".join(script)),
            env={**self.environment, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=log or subprocess.PIPE,
            stderr=subprocess.STDOUT if log else subprocess.PIPE,
            text=True,
        )

    def run(self, *command: str, **how: Any) -> subprocess.CompletedProcess[str]:
        """The same, to its end."""
        with self.start(command, **how) as process:
            try:
                said, errors = process.communicate(timeout=PATIENCE_S)
            finally:
                process.kill()
        return subprocess.CompletedProcess(list(command), process.returncode, said, errors)


def unpacked(name: str) -> Image:
    """From the archive that `make images` wrote; without it the test is left out, where that is allowed.

    It stays unpacked beside the archives, for the next run and for other workers.
    """
    if not IS_WANTED:
        pytest.skip("images are not asked for: HOWDAH_WITH_IMAGES=1, after `make images`")
    file = CACHE / f"{name}.tar"
    assert os.geteuid() == 0, "images are run by chroot, which needs root"
    assert file.exists(), f"{file} is not there: make images"
    archive = archives().Archive(file)
    place, mark = CACHE / "unpacked" / name, CACHE / "unpacked" / f".{name}"
    place.parent.mkdir(mode=0o755, exist_ok=True)
    stamp = f"{file.stat().st_mtime_ns} {file.stat().st_size}"
    with (CACHE / "unpacked" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not mark.exists() or mark.read_text() != stamp:
            mark.unlink(missing_ok=True)
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(mode=0o755)
            archive.unpack(place)
            mark.write_text(stamp)
    made = Image(name, place, archive.configuration, archive.uncompressed())
    archive.close()
    return made

"""A Python, with everything installed in ours, that an unprivileged user can run: ours, or a copy in a public place.

Needed only where root runs containers without user namespaces: a virtual environment below a private home, or one made
from a Python below it, is out of the user's reach.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import howdah
from howdah.local.node.fencing import User

PLACE = Path("/var/lib/howdah/runtime")
SYSTEM_PYTHON = "/usr/bin/python3"
TIMEOUT_S = 60


class InterpreterError(Exception):
    """No Python can be given to the user; says why."""


def usable_by(user: User, on_progress: Callable[[str], None]) -> str:
    """The path of a Python that the user can run with our packages."""
    if _can_run(user, sys.executable):
        return sys.executable
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    site = Path(sysconfig.get_path("purelib"))
    package = Path(howdah.__file__).parent
    place = PLACE / hashlib.sha256(f"{site}{package}".encode()).hexdigest()[:8]
    on_progress(f"copying the Python runtime to {place}, because {user.name} cannot read {sys.prefix}")
    target = place / "lib" / f"python{version}" / "site-packages"
    _make_environment(place, version)
    _copy(site, target)
    _copy(package, target / "howdah")
    python = str(place / "bin" / "python3")
    if not _can_run(user, python):
        raise InterpreterError(f"user {user.name} cannot run {python}; is {PLACE} on a file system mounted noexec?")
    return python


def _can_run(user: User, python: str) -> bool:
    command = ["setpriv", f"--reuid={user.uid}", f"--regid={user.gid}", "--clear-groups", "--", python, "-c"]
    try:
        done = subprocess.run(
            [*command, "import howdah.instance"], capture_output=True, timeout=TIMEOUT_S, cwd="/", check=False
        )
    except OSError:
        return False
    return done.returncode == 0


def _make_environment(place: Path, version: str) -> None:
    asked = subprocess.run(
        [SYSTEM_PYTHON, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
        capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    if asked.stdout.strip() != version:
        raise InterpreterError(
            f"{sys.executable} is out of the reach of unprivileged users and {SYSTEM_PYTHON} is not Python {version}; "
            f"make the virtual environment from a Python that everybody can run"
        )
    for folder in (PLACE.parent, PLACE, place):
        folder.mkdir(mode=0o755, exist_ok=True)
        folder.chmod(0o755)
    subprocess.run(
        [SYSTEM_PYTHON, "-m", "venv", "--without-pip", str(place)], check=True, timeout=TIMEOUT_S, umask=0o022
    )


def _copy(source: Path, target: Path) -> None:
    """Copy what is new or changed, readable by everybody; paths that point back to private places stay behind."""
    for folder, names, files in os.walk(source):
        names[:] = [name for name in names if name != "__pycache__"]
        there = target / Path(folder).relative_to(source)
        there.mkdir(mode=0o755, parents=True, exist_ok=True)
        for name in files:
            if not name.endswith(".pth"):
                _copy_file(Path(folder) / name, there / name)


def _copy_file(source: Path, target: Path) -> None:
    before = source.stat()
    if target.exists() and (target.stat().st_size, target.stat().st_mtime) == (before.st_size, before.st_mtime):
        return
    shutil.copy2(source, target)
    target.chmod(0o755 if before.st_mode & 0o100 else 0o644)

"""What a platform's folder holds by name, and its removal: only what we made goes, and a person is told what stays."""

import contextlib
import shutil
from pathlib import Path

from howdah.local.configuration import FILE

LOCK = "up.lock"
_DATA = (
    *("volumes", "node", "log", "pki", "store.sqlite", "store.sqlite-wal", "store.sqlite-shm"),
    *("kubeconfig", "pgpass", "port", "service-range", "fencing", "processes.json", "lock"),
)


def in_the_way(directory: Path) -> list[str]:
    """Names that a platform would use and that somebody else has in this folder, where no platform is yet."""
    if (directory / FILE).exists():
        return []
    return [name for name in _DATA if (directory / name).exists() or (directory / name).is_symlink()]


def remove(directory: Path) -> tuple[list[str], list[str]]:
    """Remove the platform from its folder, whose processes are dead, and the folder if nothing else is in it.

    Returns what could not be removed, with the reason, and names of what is not ours and stays. As long as something
    of ours is there, so is the configuration: the removal can be tried again.
    """
    failed = [problem for name in _DATA if (problem := _removed(directory / name)) is not None]
    if failed:
        return failed, []
    for name in (*_DATA, FILE):
        (directory / f".{name}.new").unlink(missing_ok=True)
    for name in (FILE, LOCK):
        (directory / name).unlink(missing_ok=True)
    stays = sorted(path.name for path in directory.iterdir())
    if not stays:
        with contextlib.suppress(OSError):  # empty, but perhaps a mount point
            directory.rmdir()
    return [], stays


def _removed(path: Path) -> str | None:
    """Remove one entry; why it could not be. A link was made by somebody else: it stays, with what it leads to."""
    try:
        if path.is_symlink():
            return None
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as problem:
        return f"{path}: {problem.strerror} ({problem.filename})"
    return None

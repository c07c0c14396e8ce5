"""Files of the platform's folder, written so that a reader finds the former content or the new one, never a part of it.

That holds for a crash, a full disk and a power cut, too. Not here: files that only grow (logs, the store).
"""

import os
import stat
from pathlib import Path


def write_whole(
    path: Path, content: bytes, *, mode: int = 0o600, owner: tuple[int, int] | None = None, sync: bool = True
) -> bool:
    """Replace a file as a whole; False when it is already what it should be. `owner`: uid and gid, where not ours.

    Without `sync` a power cut may leave it empty (a crash of ours never does): for what a reboot makes worthless.

    Raises OSError, and then the former file is still there. One writer at a time per file.
    """
    if _is(path, content, mode, owner):
        return False
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
            os.fchmod(file.fileno(), mode)
            if owner is not None:
                os.fchown(file.fileno(), *owner)
            file.write(content)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        draft.rename(path)
    except OSError:
        draft.unlink(missing_ok=True)  # on a full disk its bytes are wanted elsewhere
        raise
    return True


def _is(path: Path, content: bytes, mode: int, owner: tuple[int, int] | None) -> bool:
    try:
        found = path.lstat()
        return (
            stat.S_ISREG(found.st_mode)
            and stat.S_IMODE(found.st_mode) == mode
            and (found.st_uid, found.st_gid) == (owner or (os.geteuid(), found.st_gid))
            and found.st_size == len(content)
            and path.read_bytes() == content
        )
    except FileNotFoundError:
        return False

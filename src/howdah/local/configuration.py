"""What a local platform is made of, as data, and where on this machine its parts live."""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from howdah.local.files import write_whole

FILE = "platform.json"

POD_ENV = {
    "HOWDAH_PATRONI_AUTH": "derived",
    # PostgreSQL from a wheel has no TLS; where both sides have it, it is used.
    "HOWDAH_POOLER_TLS": "prefer",
    "HOWDAH_BACKUP_TLS": "prefer",
    "LANG": "C.UTF-8",
}


@dataclass(frozen=True, slots=True)
class Command:
    """A process to keep alive beside the platform's own."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Platform:
    """One platform: a folder, what images run here, and which further processes belong to it.

    `roles`: role → command of a container of that role. `processes`: name → command; `KUBECONFIG` (the
    administrator's) is set for them. `pod_env`: environment that every container gets unless its spec says otherwise.
    `needs`: role → the program of this machine that it needs, and how a person gets it.
    """

    directory: Path
    roles: Mapping[str, tuple[str, ...]]
    processes: Mapping[str, Command] = field(default_factory=dict)
    pod_env: Mapping[str, str] = field(default_factory=lambda: dict(POD_ENV))
    needs: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's access, written by the API server."""
        return self.directory / "kubeconfig"

    @property
    def ca_file(self) -> Path:
        """The API server's certificate authority."""
        return self.directory / "pki" / "ca.crt"

    @property
    def identity(self) -> str:
        """Tells this platform from others of the machine, in names that must be short."""
        return hashlib.sha256(str(self.directory).encode()).hexdigest()[:8]

    @property
    def runtime(self) -> Path:
        """Where sockets live: their whole path may have at most 107 bytes."""
        return runtime_root() / self.identity

    @property
    def node_socket(self) -> Path:
        """Where the node answers the API server."""
        return self.runtime / "node.sock"

    @property
    def service_range(self) -> str:
        """The addresses of this platform's services: a /16 of 127.96.0.0/11, so that platforms do not meet."""
        return f"127.{96 + int(self.identity, 16) % 32}.0.0/16"


def runtime_root() -> Path:
    """The folder of all sockets of this user. Not below $XDG_RUNTIME_DIR, which goes away when the user logs out."""
    return Path(f"/tmp/howdah-{os.getuid()}")  # noqa: S108 - checked in make_runtime


def make_runtime(platform: Platform, shared: bool) -> Path:
    """Make the runtime folder; `shared` lets other users pass through. Raises PermissionError for somebody else's."""
    for folder in (runtime_root(), platform.runtime):
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
            raise PermissionError(
                f"{folder} must be a folder of uid {os.getuid()} that nobody else can write; remove it"
            )
        if shared or folder == platform.runtime:  # another platform of this user may need the folder of all to be open
            folder.chmod(0o711 if shared else 0o700)
    return platform.runtime


def remove_runtime(platform: Platform) -> None:
    """Remove the platform's sockets, and the folder of all where it was the last. What is not ours is left alone."""
    root = runtime_root()
    with contextlib.suppress(OSError):  # not there, or another platform of this user is
        found = root.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid():
            shutil.rmtree(platform.runtime, ignore_errors=True)
            root.rmdir()


def hold_runtime() -> int:
    """Keep everything below the folder of all sockets from being cleaned away by age, as long as this process lives.

    systemd-tmpfiles leaves out a folder on which somebody holds a BSD lock, and all below it (tmpfiles.d(5), "Age");
    many systems give /tmp ten days, and certificates are read again years after they were written.
    Returns the descriptor that holds the lock. Raises OSError where the folder is missing, or is cleaned at this moment.
    """
    descriptor = os.open(runtime_root(), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def save(platform: Platform) -> None:
    """Write the configuration into the platform's folder."""
    content = asdict(platform) | {"directory": str(platform.directory)}
    write_whole(platform.directory / FILE, json.dumps(content, indent=1).encode())


def load(directory: Path) -> Platform:
    """Read it back. Raises FileNotFoundError where no platform is, ValueError or KeyError where it cannot be read."""
    raw = _raw(directory)
    return Platform(
        directory=directory,
        roles={role: tuple(argv) for role, argv in raw["roles"].items()},
        processes={name: Command(tuple(command["argv"]), command["env"]) for name, command in raw["processes"].items()},
        pod_env=raw["pod_env"],
        needs={role: (program, hint) for role, (program, hint) in raw.get("needs", {}).items()},
    )


def made_as(directory: Path) -> Path:
    """The folder in which this platform was brought up last: another one where it was copied or moved since.

    Raises as `load` does.
    """
    return Path(_raw(directory)["directory"])


def _raw(directory: Path) -> dict[str, Any]:
    found = json.loads((directory / FILE).read_bytes())
    if not isinstance(found, dict):
        raise ValueError(f"{directory / FILE} is no configuration")
    return found

"""What a local platform is made of, as data, and where on this machine its parts live."""

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

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


def save(platform: Platform) -> None:
    """Write the configuration into the platform's folder."""
    content = asdict(platform) | {"directory": str(platform.directory)}
    path = platform.directory / "platform.json"
    temporary = path.with_suffix(".new")
    temporary.touch(mode=0o600)
    temporary.write_text(json.dumps(content, indent=1))
    temporary.replace(path)


def load(directory: Path) -> Platform:
    """Read it back. Raises FileNotFoundError where no platform is."""
    raw: dict[str, Any] = json.loads((directory / "platform.json").read_bytes())
    return Platform(
        directory=Path(raw["directory"]),
        roles={role: tuple(argv) for role, argv in raw["roles"].items()},
        processes={name: Command(tuple(command["argv"]), command["env"]) for name, command in raw["processes"].items()},
        pod_env=raw["pod_env"],
        needs={role: (program, hint) for role, (program, hint) in raw.get("needs", {}).items()},
    )

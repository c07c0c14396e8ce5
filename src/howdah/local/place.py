"""Whether a folder is a platform's, and which one's: of nobody, made here, moved here, or a copy of another's.

A copy's records name processes and folders of the original. Nothing may be ended, removed or driven on their word.
"""

from pathlib import Path

from howdah.local import configuration, removal, supervisor
from howdah.local.configuration import Platform
from howdah.local.node import containers


class PlatformError(Exception):
    """What a person should read: what is wrong, where, and what to do."""


def check_for_up(directory: Path) -> None:
    """Whether a platform may be made, or go on, in this folder. Raises PlatformError."""
    if taken := removal.in_the_way(directory):
        raise PlatformError(
            f"{directory} holds no platform, but {', '.join(taken)}, which a platform would take for its own; "
            f"choose another folder with --dir"
        )
    try:
        made_as = configuration.made_as(directory)
    except (OSError, ValueError, KeyError):
        return  # it is written (anew)
    if made_as == directory:
        return
    if (made_as / configuration.FILE).exists() and _authority(made_as) == _authority(directory):
        raise PlatformError(
            f"{directory} is a copy of the platform in {made_as}, and two of them would drive the same pods; "
            f"use that one, or remove it first (howdah local down --remove --dir {made_as})"
        )
    if _is_alive(directory, made_as):
        raise PlatformError(
            f"{directory} was moved from {made_as} while it ran, and its processes work there; move it back, end them "
            f"(howdah local down --dir {made_as}), and move it then"
        )


def made_here(directory: Path) -> Platform:
    """The platform of this very folder. Raises PlatformError for a folder without one, a copy, and one that was moved."""
    try:
        made_as, platform = configuration.made_as(directory), configuration.load(directory)
    except FileNotFoundError:
        raise PlatformError(
            f"{directory} holds no platform (it has no {configuration.FILE}); nothing is ended or removed"
        ) from None
    except (OSError, ValueError, KeyError) as problem:
        raise PlatformError(
            f"{directory / configuration.FILE} cannot be read ({problem}); nothing is ended or removed; "
            f"`howdah local up --dir {directory}` writes it anew"
        ) from problem
    if made_as != directory:
        raise PlatformError(
            f"the platform in {directory} was made as {made_as}: this is a copy, or it was moved; nothing is ended or "
            f"removed. Remove a copy by hand; move the platform back, or bring it up where it is now "
            f"(howdah local up --dir {directory}) and take it down then"
        )
    return platform


def _authority(directory: Path) -> bytes | None:
    """What one platform has, and its copies have."""
    try:
        return (directory / "pki" / "ca.crt").read_bytes()
    except OSError:
        return None


def _is_alive(directory: Path, made_as: Path) -> bool:
    """Whether anything runs of a platform that is here now and was there when it was started."""
    names = ("supervisor", *supervisor.commands(configuration.load(directory)))
    if any(supervisor.running(made_as, name) for name in names):
        return True
    records = (containers.adopt(folder) for folder in (directory / "node" / "pods").glob("*/containers/*"))
    return any(record is not None and not record.fence.is_dead(record.run) for record in records)

"""Whether a folder is a platform's, and which one's: of nobody, made here, moved here, or a copy of another's.

The same folder may have two names: data is moved to another disk, and a link is left for it. That is no copy.

A copy's records name processes and folders of the original. Nothing may be ended, removed or driven on their word.
"""

from collections.abc import Iterator
from pathlib import Path

from howdah.local import configuration, removal, supervisor
from howdah.local.configuration import Platform
from howdah.local.node import containers
from howdah.local.node.containers import Container


class PlatformError(Exception):
    """What a person should read: what is wrong, where, and what to do."""


def check_for_up(directory: Path) -> None:
    """Whether a platform may be made, or go on, in this folder. Raises PlatformError."""
    taken = removal.in_the_way(directory)
    if taken and not _lost_its_configuration(directory):
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
    if _is_same(made_as, directory):
        if _is_alive(directory, made_as):
            raise PlatformError(
                f"{made_as} leads to {directory} now, and what runs there was started under the former name; end it "
                f"(howdah local down --dir {directory}), and bring it up then"
            )
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
    """The platform of this very folder, or what a failed `up` or a lost configuration left of it.

    Raises PlatformError for a folder of somebody else's, a copy, and one that was moved.
    """
    try:
        made_as, platform = configuration.made_as(directory), configuration.load(directory)
    except FileNotFoundError:
        taken = removal.in_the_way(directory)
        if taken and not _lost_its_configuration(directory):
            raise PlatformError(
                f"{directory} holds no platform (it has no {configuration.FILE}); nothing is ended or removed. "
                f"If a platform left {', '.join(taken)} there, remove that by hand"
            ) from None
        return Platform(directory, {})
    except (OSError, ValueError, KeyError) as problem:
        raise PlatformError(
            f"{directory / configuration.FILE} cannot be read ({problem}); nothing is ended or removed; "
            f"`howdah local up --dir {directory}` writes it anew"
        ) from problem
    if made_as != directory and not _is_same(made_as, directory):
        raise PlatformError(
            f"the platform in {directory} was made as {made_as}: this is a copy, or it was moved; nothing is ended or "
            f"removed. Remove a copy by hand; move the platform back, or bring it up where it is now "
            f"(howdah local up --dir {directory}) and take it down then"
        )
    return platform


def is_void(directory: Path) -> bool:
    """Whether there is no platform in this folder and nothing of one, not even of an `up` that failed."""
    left = (configuration.FILE, removal.LOCK)
    return not any((directory / name).exists() for name in left) and not (
        removal.in_the_way(directory) or supervisor.names(directory)
    )


def spellings(directory: Path) -> tuple[Path, ...]:
    """The names of this folder under which its processes may have been started, its own first."""
    try:
        made_as = configuration.made_as(directory)
    except (OSError, ValueError, KeyError):
        return (directory,)
    return (directory, made_as) if made_as != directory and _is_same(made_as, directory) else (directory,)


def recorded(directory: Path) -> Iterator[Container]:
    """Containers that were started in this folder, alive or not; a record that came from elsewhere is not ours."""
    places = spellings(directory)
    for container in _records(directory):
        if all(any(Path(work).is_relative_to(place) for place in places) for work in container.run.folders):
            yield container


def _records(directory: Path) -> Iterator[Container]:
    for folder in (directory / "node" / "pods").glob("*/containers/*"):
        if (container := containers.adopt(folder)) is not None:
            yield container


def _lost_its_configuration(directory: Path) -> bool:
    """Whether data without a configuration is a platform's of this very folder: its processes or records say so."""
    has_data = all((directory / name).exists() for name in ("pki/ca.crt", "store.sqlite"))
    return has_data and (bool(supervisor.names(directory)) or any(found.run.folders for found in recorded(directory)))


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _authority(directory: Path) -> bytes | None:
    """What one platform has, and its copies have."""
    try:
        return (directory / "pki" / "ca.crt").read_bytes()
    except OSError:
        return None


def _is_alive(directory: Path, made_as: Path) -> bool:
    """Whether anything runs of a platform that is here now and was there when it was started.

    Another platform may have been made there since: then what runs under that name is its.
    """
    is_of_another = (made_as / configuration.FILE).exists() and not _is_same(made_as, directory)
    if not is_of_another and supervisor.names(made_as):
        return True
    return any(not record.fence.is_dead(record.run) for record in _records(directory))

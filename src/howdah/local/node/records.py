"""What a pod's folder says of it: for an agent that finds the folder, and perhaps processes, but no object."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from howdah.local.files import write_whole


@dataclass(frozen=True, slots=True)
class PodRecord:
    """`runtime`: the folder of its sockets; `claims`: names of the claims that it uses, in its namespace."""

    namespace: str
    name: str
    runtime: str
    claims: tuple[str, ...]


def write(folder: Path, record: PodRecord) -> None:
    """Nothing is written where it is written already. Raises OSError, and then a former record is still whole.

    A power cut may cost the record, and ends whatever it speaks of.
    """
    write_whole(folder / "pod.json", json.dumps(asdict(record)).encode(), sync=False)


def read(folder: Path) -> PodRecord | None:
    """`None` when nobody can tell any more whose folder it is."""
    try:
        book: dict[str, Any] = json.loads((folder / "pod.json").read_bytes())
        # Records of former versions have the namespace before each claim.
        claims = tuple(str(claim).rpartition("/")[2] for claim in book["claims"])
        return PodRecord(str(book["namespace"]), str(book["name"]), str(book["runtime"]), claims)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def starts(folder: Path) -> list[Path]:
    """Folders of the containers that were ever started: the record of that is older than any process.

    Raises OSError when the folder cannot be looked into (a glob would find nothing).
    """
    try:
        found = sorted((folder / "containers").iterdir())
    except FileNotFoundError:
        return []
    return [start for start in found if (start / "run.json").exists()]

"""Make a replica's data directory by pg_basebackup, with the replica's own slot made first.

Patroni runs this file as a script of its own (so it imports nothing of ours), with `--datadir` and `--connstring`.
The leader's Patroni makes the slot only in its next loop, up to loop_wait seconds later; until then the new replica
cannot stream, and the WAL it needs may be recycled. Patroni knows the slot by its name and looks after it from then
on; where the cluster does not use slots it would not, and the slot would hold WAL for ever: there it is dropped again.
If anything here fails, Patroni's own way of making replicas comes next.

A manifest may ask for a higher major version than the cluster still has: PGVERSION says the one, the leader's data the other.
Then the copy decides, see `end_patroni`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

SLOT_TIMEOUT_S = 10


def slot_name(member: str) -> str:
    """The slot that Patroni uses for a member: https://patroni.readthedocs.io/en/latest/faq.html."""
    replaced = re.sub(r"[^a-z0-9_]", lambda match: _replacement(match[0]), member.lower())
    return replaced[:63]


def _replacement(character: str) -> str:
    return "_" if character in "-." else f"u{ord(character):04d}"


def make_slot(bin_dir: Path, connection: str, slot: str) -> bool:
    """Whether the leader has the slot now; one that is there already serves as well."""
    said = _command(bin_dir, connection, f'CREATE_REPLICATION_SLOT "{slot}" PHYSICAL RESERVE_WAL')
    return said is not None and (not said or "already exists" in said)


def drop_slot(bin_dir: Path, connection: str, slot: str) -> bool:
    """Whether the slot was dropped."""
    return _command(bin_dir, connection, f'DROP_REPLICATION_SLOT "{slot}"') == ""


def slots_are_used(data: Path) -> bool:
    """What the leader's copy of the dynamic configuration says, which came with the data; yes where it says nothing."""
    try:
        dynamic = json.loads((data / "patroni.dynamic.json").read_text())
        return str(dynamic["postgresql"]["use_slots"]).lower() not in ("false", "off", "no", "0")
    except (OSError, ValueError, LookupError, TypeError):
        return True


def _command(bin_dir: Path, connection: str, statement: str) -> str | None:
    """Errors of a replication command: none is ""; None where no answer came."""
    command = [str(bin_dir / "psql"), "--no-psqlrc", "--quiet", f"--command={statement}", f"{connection} replication=1"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=SLOT_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return None
    return "" if result.returncode == 0 else result.stderr or "failed"


def back_up(bin_dir: Path, connection: str, data: str, slot: str | None) -> int:
    """pg_basebackup's exit code."""
    command = [str(bin_dir / "pg_basebackup"), f"--pgdata={data}", "--wal-method=stream", "--checkpoint=fast"]
    command += [f"--dbname={connection}", *([f"--slot={slot}"] if slot else [])]
    return subprocess.run(command, check=False).returncode  # as long as the data take


def other_major(bin_dir: Path, data: Path) -> str | None:
    """The major version that the copied data are of, where these binaries are of another one and cannot serve them."""
    command = [str(bin_dir / "postgres"), "--version"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=SLOT_TIMEOUT_S, check=False).stdout
    theirs, ours = (data / "PG_VERSION").read_text().strip(), re.search(r"\d+", said)
    return theirs if ours is not None and theirs.partition(".")[0] != ours[0] else None


def end_patroni(major: str) -> None:
    """The container starts again, and then chooses its binaries by the data that are there now."""
    why = f"the leader's data are of PostgreSQL {major}, these binaries are not: starting again with others"
    print(why, flush=True)  # noqa: T201
    os.kill(os.getppid(), signal.SIGTERM)


def main(arguments: list[str]) -> int:
    """Patroni adds `--scope` and `--role`, which nothing here needs."""
    parser = argparse.ArgumentParser()
    for name in ("--bin-dir", "--member", "--datadir", "--connstring"):
        parser.add_argument(name, required=True)
    given, _ = parser.parse_known_args(arguments)
    bin_dir, slot = Path(given.bin_dir), slot_name(given.member)
    has_slot = make_slot(bin_dir, given.connstring, slot)
    code = back_up(bin_dir, given.connstring, given.datadir, slot if has_slot else None)
    if has_slot and code == 0 and not slots_are_used(Path(given.datadir)):
        drop_slot(bin_dir, given.connstring, slot)
    if code == 0 and (major := other_major(bin_dir, Path(given.datadir))) is not None:
        end_patroni(major)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

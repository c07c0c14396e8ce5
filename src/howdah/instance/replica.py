"""Make a replica's data directory by pg_basebackup, with the replica's own slot made first.

Patroni runs this file as a script of its own (so it imports nothing of ours), with `--datadir` and `--connstring`.
The leader's Patroni makes the slot only in its next loop, up to loop_wait seconds later; until then the new replica
cannot stream, and the WAL it needs may be recycled. Patroni knows the slot by its name and looks after it from then
on; where the cluster does not use slots it would not, and the slot would hold WAL for ever: there it is dropped again,
and everywhere when there is no copy. One that is left by a script that was killed serves the next, which drops it likewise.

The copy is made beside the data directory, and renamed when all of it is on disk. Half a copy in its place would be taken
for a broken database, of which Patroni touches nothing until a person asks for it. Beside it, by its name, it is ours and
never was a database: `discard_copies` removes it, here and when the container starts again.
If anything here fails, Patroni's own way of making replicas comes next, and that copies in place.

A manifest may ask for a higher major version than the cluster still has: PGVERSION says the one, the leader's data the other.
Then the copy decides, see `end_patroni`.
"""

from __future__ import annotations

import glob
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

COPY = ".copying."
SLOT_TIMEOUT_S = 10
ASKED_TO_END = 128 + signal.SIGTERM


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
    """Whether the slot was dropped. It waits for the server to notice that who used it has gone."""
    return _command(bin_dir, connection, f'DROP_REPLICATION_SLOT "{slot}" WAIT') == ""


def slots_are_used(data: Path) -> bool:
    """What the leader's copy of the dynamic configuration says, which came with the data; yes where it says nothing."""
    try:
        dynamic = json.loads((data / "patroni.dynamic.json").read_text())
        return str(dynamic["postgresql"]["use_slots"]).lower() not in ("false", "off", "no", "0")
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return True


def _command(bin_dir: Path, connection: str, statement: str) -> str | None:
    """Errors of a replication command: none is ""; None where no answer came."""
    command = [str(bin_dir / "psql"), "--no-psqlrc", "--quiet", f"--command={statement}", f"{connection} replication=1"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=SLOT_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return None
    return "" if result.returncode == 0 else result.stderr or "failed"


def new_copy(data: Path) -> Path:
    """Where a copy is until it is whole: in the same file system, and nowhere that a process of an earlier one may write to."""
    return data.with_name(f"{data.name}{COPY}{secrets.token_hex(4)}")


def discard_copies(data: Path) -> list[Path]:
    """Those that are not whole, and are removed as far as that can be done.

    Their tablespaces are links to where the leader has them. They are removed and not followed: a tablespace that was made
    during the copy is not of the copy, and on one machine with the leader the link leads to the leader's files.
    """
    copies = list(data.parent.glob(f"{glob.escape(data.name)}{COPY}*"))
    for copy in copies:
        shutil.rmtree(copy, ignore_errors=True)
    return copies


def put_in_place(copy: Path, data: Path) -> None:
    """What pg_basebackup has put on disk becomes the data directory: at once, and for good before a server starts in it."""
    copy.rename(data)
    folder = os.open(data.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def back_up(bin_dir: Path, connection: str, copy: Path, slot: str | None) -> int:
    """pg_basebackup's exit code."""
    command = [str(bin_dir / "pg_basebackup"), f"--pgdata={copy}", "--wal-method=stream", "--checkpoint=fast"]
    command += [f"--dbname={connection}", *([f"--slot={slot}"] if slot else [])]
    process = subprocess.Popen(command, process_group=0)
    code = None
    try:
        code = process.wait()  # as long as the data take
    finally:
        if code != 0:  # it has a child that receives WAL, and holds the slot: also when it was killed itself
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return code


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


def copied(bin_dir: Path, connection: str, data: Path, slot: str) -> int:
    """Exit code; 0: the data directory is there. Whatever ends this leaves no half of it, and no slot that nobody uses."""
    copy, is_slot_used = new_copy(data), False
    try:
        has_slot = make_slot(bin_dir, connection, slot)
        code = back_up(bin_dir, connection, copy, slot if has_slot else None)
        if code == 0:
            put_in_place(copy, data)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # who ends this removes what was copied
            is_slot_used = slots_are_used(data)
        return code
    finally:
        if not is_slot_used:
            drop_slot(bin_dir, connection, slot)
        discard_copies(data)


def main(arguments: list[str]) -> int:
    """Patroni adds `--scope` and `--role`, which nothing here needs. It ends this by SIGTERM, and kills after ten seconds."""
    import argparse  # for the script alone: the container's start imports this module, too

    parser = argparse.ArgumentParser()
    for name in ("--bin-dir", "--member", "--datadir", "--connstring"):
        parser.add_argument(name, required=True)
    given, _ = parser.parse_known_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(ASKED_TO_END))
    bin_dir, data = Path(given.bin_dir), Path(given.datadir)
    discard_copies(data)
    if data.exists():
        data.rmdir()  # empty, says Patroni; a mount or a link cannot be renamed to, and that is told before all is copied
    code = copied(bin_dir, given.connstring, data, slot_name(given.member))
    if code == 0 and (major := other_major(bin_dir, data)) is not None:
        end_patroni(major)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

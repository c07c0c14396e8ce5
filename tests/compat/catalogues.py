"""Compares the roles and databases that we make on a real PostgreSQL with the recorded catalogues, field by field."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from psycopg import sql

from adapters.postgres.passes import settle
from adapters.postgres.servers import Server, installations, start
from adapters.postgres.test_recorded_cases import (
    given,
    pam_role,
    prepare,
    recorded,
    seen,
    wanted,
    with_available_extensions,
)
from compat.compare import Case, after_step, read_case

UNFINISHED: Mapping[str, Callable[[Case], bool]] = {
    "another superuser than this server has": lambda case: case.settings.super_username != "postgres",
}
"""What a case needs that is not built yet, or that this server is not."""


@dataclass(slots=True)
class Catalogues:
    """What a run found. A difference is a sentence."""

    compared: int = 0
    fields: int = 0
    left_out: dict[str, str] = field(default_factory=dict)
    unexplained: list[str] = field(default_factory=list)
    why_not: str = ""  # nothing was compared at all

    def __str__(self) -> str:
        """A part of the line of totals."""
        if self.why_not:
            return f"catalogues not compared: {self.why_not}"
        return (
            f"{self.compared} catalogues, {self.fields} fields compared "
            f"({len(self.left_out)} need what is not built yet): {len(self.unexplained)} differ without explanation"
        )


def compare_catalogues(folders: Iterable[Path]) -> Catalogues:
    """Of each request that differs from the others; on the lowest major here, for the recording is of 15."""
    found, majors = Catalogues(), installations()
    if not majors:
        return Catalogues(why_not="there is no PostgreSQL here")
    server = start(min(majors), majors[min(majors)])
    done: set[str] = set()
    try:
        for folder in folders:
            _compare(folder, server, found, done)
    finally:
        server.stop()
    return found


def _compare(folder: Path, server: Server, found: Catalogues, done: set[str]) -> None:
    case = read_case(folder)
    if why := next((why for why, needs in UNFINISHED.items() if needs(case)), None):
        found.left_out[case.name] = why
        return
    is_fresh = False
    for number, manifest in _manifests(case):
        file = f"catalogue{number}.json"
        if not (folder / file).exists() or "roles" not in json.loads((folder / file).read_text()):
            return  # the operator kept away from the database
        request = repr((wanted(folder, manifest), number)).replace(case.name, "")
        if request in done and not is_fresh:
            return
        if not is_fresh:
            server.reset()
        done.add(request)
        is_fresh = True
        _compare_catalogue(case, server, (manifest, file), found)


def _manifests(case: Case) -> Iterator[tuple[str, str]]:
    """The creation, and each later step that only applies a manifest, with the number in the names of its files."""
    yield "", "manifest.yaml"
    for number, step in enumerate(case.facts.get("steps") or (), start=2):
        if set(step) != {"apply"} or not (case.folder / f"catalogue-{number}.json").exists():
            return
        case = after_step(case, step)
        yield f"-{number}", step["apply"]


def _compare_catalogue(case: Case, server: Server, files: tuple[str, str], found: Catalogues) -> None:
    manifest, file = files
    desired = with_available_extensions(wanted(case.folder, manifest), server)
    parameters = case.manifest["spec"]["postgresql"].get("parameters") or {}
    method = "md5" if parameters.get("password_encryption") == "md5" else "scram-sha-256"
    found.compared += 1
    if not number_of(file):
        as_the_case_begins(case, server)
    try:
        asyncio.run(settle(server, desired, given(case.folder, desired), method=method))
    except AssertionError as error:
        found.unexplained.append(f"{case.name}: {file}: {error}")
        return
    ours, theirs = _leaves(seen(server)), _leaves(recorded(case.folder, server, file=file))
    is_later = file != "catalogue.json"
    for path in sorted({*ours, *theirs}):
        found.fields += 1
        if is_later and "default_privileges" in path and path not in theirs:
            continue  # the reference sets them only when it makes a database or a schema
        if path[0] == "postgres" and not theirs.get(path):
            continue  # what every server has, which the recording leaves out
        if path == OWNER_BEFOREHAND and case.manifest["spec"].get("streams"):
            continue
        if ours.get(path) != theirs.get(path):
            said = f"ours {ours.get(path)!r}, recorded {theirs.get(path)!r}"
            found.unexplained.append(f"{case.name}: {file}: {' '.join(path)}: {said}")


OWNER_BEFOREHAND = ("roles", "admin", "member_of", "foo_owner")
"""Of the case of streams: the reference gives an admin to new roles only, we to those that were there as well."""


def number_of(file: str) -> str:
    """`-2` of `catalogue-2.json`; empty for the creation."""
    return file.removeprefix("catalogue").removesuffix(".json")


def as_the_case_begins(case: Case, server: Server) -> None:
    """What people and a cluster's bootstrap did before the operator came."""
    prepare(case.folder, server)
    if (pam := pam_role(case.folder)) != "zalandos":
        server.sql(sql.SQL("ALTER ROLE zalandos RENAME TO {}").format(sql.Identifier(pam)))


def _leaves(value: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    if isinstance(value, dict) and value:
        return {at: leaf for key, below in value.items() for at, leaf in _leaves(below, (*path, str(key))).items()}
    return {path: value}

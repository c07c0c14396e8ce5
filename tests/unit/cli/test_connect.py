"""How a leader is reached, and that only one command shows a password."""

import pytest

from howdah.cli.connect import Endpoint

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
    from dataclasses import replace

    assert replace(ENDPOINT, host="fd00::7").public_url == "postgresql://bar_owner%40x@[fd00::7]:5432/my%20db"


def test_passfile_escapes_colons_and_backslashes() -> None:
    assert ENDPOINT.passfile_line == r"127.96.0.7:5432:*:bar_owner@x:p\:a/s\\s%"


def test_password_reaches_psql_by_environment() -> None:
    assert ENDPOINT.environment["PGPASSWORD"] == "p:a/s\\s%"


@pytest.mark.parametrize("variable", ["PGHOST", "PGPORT", "PGUSER", "PGDATABASE"])
def test_psql_needs_no_argument_to_find_the_leader(variable: str) -> None:
    assert ENDPOINT.environment[variable]

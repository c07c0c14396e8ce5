"""From the environment of a pooler's container to PgBouncer's files; that PgBouncer takes them is proved in adapters."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from howdah.core.pgbouncer.configuration import Environment, Machine, configuration, parse
from howdah.core.pgbouncer.users import user_list_text, with_others
from howdah.model.errors import InvalidSpec

RENDERED: Mapping[str, str] = {
    "PGHOST": "acid-a",
    "PGPORT": "5432",
    "PGUSER": "pooler",
    "PGPASSWORD": "secret",
    "PGSCHEMA": "Pools",
    "CONNECTION_POOLER_PORT": "5432",
    "CONNECTION_POOLER_MODE": "transaction",
    "CONNECTION_POOLER_DEFAULT_SIZE": "15",
    "CONNECTION_POOLER_MIN_SIZE": "7",
    "CONNECTION_POOLER_RESERVE_SIZE": "7",
    "CONNECTION_POOLER_MAX_CLIENT_CONN": "10000",
    "CONNECTION_POOLER_MAX_DB_CONN": "30",
}
MACHINE = Machine((1, 18), "*", "/run/pooler", "acid-a", "/run/pooler/server.crt", "/run/pooler/server.key")


def options(asked: Environment, machine: Machine = MACHINE) -> dict[str, str]:
    lines = configuration(asked, machine).splitlines()
    return dict(line.split(" = ", 1) for line in lines if " = " in line)


def test_everything_that_the_operator_renders_has_its_place() -> None:
    found = options(parse({**RENDERED, "INFRASTRUCTURE_ROLES": "robot,other"}))
    expected = {
        "*": "host='acid-a' port='5432' auth_user='pooler'",
        "listen_port": "5432",
        "pool_mode": "transaction",
        "default_pool_size": "15",
        "reserve_pool_size": "7",
        "max_client_conn": "10000",
        "max_db_connections": "30",
        "admin_users": "pooler",
        "stats_users": "robot,other",
        "auth_query": 'SELECT uname, phash FROM "pools"."user_lookup"($1) WHERE uname IS NOT NULL',
        "server_tls_sslmode": "require",
        "client_tls_sslmode": "require",
        "client_tls_cert_file": "/run/pooler/server.crt",
    }
    assert expected.items() <= found.items()


def test_a_given_certificate_is_used_and_required_also_where_tls_is_only_preferred() -> None:
    given = {
        "CONNECTION_POOLER_CLIENT_TLS_CRT": "/tls/tls.crt",
        "CONNECTION_POOLER_CLIENT_TLS_KEY": "/tls/tls.key",
        "CONNECTION_POOLER_CLIENT_CA_FILE": "/tls/ca.crt",
        "HOWDAH_POOLER_TLS": "prefer",
    }
    found = options(parse({**RENDERED, **given}))
    assert found["client_tls_cert_file"] == "/tls/tls.crt"
    assert found["client_tls_ca_file"] == "/tls/ca.crt"
    assert (found["client_tls_sslmode"], found["server_tls_sslmode"]) == ("require", "prefer")


def test_only_options_that_this_version_knows_are_written() -> None:
    asked = parse(RENDERED)
    assert not {"auth_dbname", "max_prepared_statements"} & options(asked).keys()
    newer = options(asked, replace(MACHINE, version=(1, 24)))
    assert newer["auth_dbname"] == "postgres"
    assert newer["max_prepared_statements"] == "200"


def test_no_pool_is_without_connections() -> None:
    assert options(parse({**RENDERED, "CONNECTION_POOLER_DEFAULT_SIZE": "0"}))["default_pool_size"] == "1"


def test_the_password_is_in_no_configuration_and_no_text_of_it() -> None:
    asked = parse({**RENDERED, "PGPASSWORD": "hunter2"})
    assert "hunter2" not in configuration(asked, MACHINE)
    assert "hunter2" not in repr(asked)


def test_every_mistake_is_told_at_once() -> None:
    wrong = {
        "PGUSER": "",
        "CONNECTION_POOLER_MODE": "fast",
        "PGPORT": "-1",
        "HOWDAH_POOLER_TLS": "no",
        "PGHOST": "a\nb",
    }
    with pytest.raises(InvalidSpec) as caught:
        parse({**RENDERED, **wrong, "CONNECTION_POOLER_CLIENT_TLS_CRT": "/tls/tls.crt"})
    assert {problem.path for problem in caught.value.problems} == {*wrong, "CONNECTION_POOLER_CLIENT_TLS_KEY"}


def test_quotes_in_names_and_passwords_are_doubled() -> None:
    assert user_list_text([("a", 'p"w'), ("b", "x")]) == '"a" "p""w"\n"b" "x"\n'


def test_of_a_mounted_list_the_others_are_kept() -> None:
    mounted = '"pooler" "an old one"\n\n"robot" "mon"\n"pooler2" "x"\n'
    assert with_others("pooler", "new", mounted) == '"pooler" "new"\n"robot" "mon"\n"pooler2" "x"\n'

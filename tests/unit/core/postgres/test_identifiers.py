"""Names and lists as PostgreSQL reads them."""

import pytest

from howdah.core.postgres.identifiers import (
    database_name_fault,
    parameter_name_fault,
    prepared_name_fault,
    role_name_fault,
    schema_name_fault,
    setting_items,
)


@pytest.mark.parametrize("name", ["a", "foo_user", "with-dash", "ns.user", "a1.b2.c3", "9lives"])
def test_names_of_the_field_are_roles(name: str) -> None:
    assert role_name_fault(name) is None


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("", "not a role name"),
        ("Upper", "not a role name"),
        ("-dash", "not a role name"),
        ("dash-", "not a role name"),
        ("a..b", "not a role name"),
        ("a\n", "not a role name"),
        ('quo"te', "not a role name"),
        ("public", "reserved"),
        ("none", "reserved"),
        ("pg_monitor", "reserved"),
        ("a" * 64, "64 bytes"),
    ],
)
def test_what_cannot_be_a_role_is_told(name: str, word: str) -> None:
    assert word in (role_name_fault(name) or "")


@pytest.mark.parametrize(
    ("name", "is_fine"),
    [("foo", True), ("UPPER", True), ("_x1", True), ("1x", False), ("bad-name", False), ("a" * 64, False), ("", False)],
)
def test_names_of_databases_are_plain(name: str, is_fine: bool) -> None:
    assert (database_name_fault(name) is None) is is_fine
    assert (schema_name_fault(name) is None) is is_fine


@pytest.mark.parametrize(
    ("name", "database", "prepared", "schema"),
    [
        ("template0", False, False, True),
        ("template1", False, False, True),
        ("pg_x", True, False, False),
        ("pg", True, False, True),
        ("pgx", True, True, True),
        ("information_schema", True, True, False),
        ("postgres", True, True, True),
        ("public", True, True, True),
    ],
)
def test_names_that_postgresql_keeps_for_itself(name: str, database: bool, prepared: bool, schema: bool) -> None:
    checks = (database_name_fault, prepared_name_fault, schema_name_fault)
    assert tuple(check(name) is None for check in checks) == (database, prepared, schema)


@pytest.mark.parametrize(
    ("name", "is_fine"),
    [("log_statement", True), ("auto_explain.log_min", True), ("x; DROP", False), ("a.", False), ("'", False)],
)
def test_names_of_parameters_are_checked(name: str, is_fine: bool) -> None:
    assert (parameter_name_fault(name) is None) is is_fine


@pytest.mark.parametrize(
    ("value", "items"),
    [
        ('"$user", public', ("$user", "public")),
        ('"$user","a""b" , Data,"Full"', ("$user", 'a"b', "data", "Full")),
        ("'$user', 'Data'", ("$user", "Data")),
        ("pg_catalog", ("pg_catalog",)),
        ('"a, b"', ("a, b",)),
        ('""', ("",)),
        ("", ("",)),
        ('a"b', ('a"b',)),  # no list at all: compared as it is
    ],
)
def test_a_search_path_is_read_as_the_server_reads_it(value: str, items: tuple[str, ...]) -> None:
    assert setting_items("Search_Path", value) == items


def test_other_parameters_are_one_value() -> None:
    assert setting_items("log_line_prefix", '"a", b') == ('"a", b',)
    assert setting_items("local_preload_libraries", "Auto_Explain, x") == ("Auto_Explain", "x")

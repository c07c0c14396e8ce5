"""What the dump's sessions begin with: ours wins over the database's, a person's over ours."""

from howdah.core.backup.session import session_variables


def test_a_password_is_never_sent_in_the_clear_unless_somebody_wants_it() -> None:
    assert session_variables({}, all_utf8=False)["PGREQUIREAUTH"] == "!password"
    assert session_variables({"PGREQUIREAUTH": ""}, all_utf8=False)["PGREQUIREAUTH"] == ""


def test_options_of_somebody_come_after_ours() -> None:
    """The last one of a name counts."""
    options = session_variables({"PGOPTIONS": "-c work_mem=1GB"}, all_utf8=False)["PGOPTIONS"]
    assert options.startswith("-c role=none ")
    assert options.endswith(" -c work_mem=1GB")


def test_the_encoding_is_given_only_where_no_database_could_lose_by_it() -> None:
    assert session_variables({}, all_utf8=True)["PGCLIENTENCODING"] == "UTF8"
    assert session_variables({"PGCLIENTENCODING": "LATIN1"}, all_utf8=True)["PGCLIENTENCODING"] == "LATIN1"
    assert "PGCLIENTENCODING" not in session_variables({}, all_utf8=False)


def test_everything_else_stays() -> None:
    assert (
        session_variables({"PGPASSWORD": "x", "A": "b"}, all_utf8=False).items()
        >= {"PGPASSWORD": "x", "A": "b"}.items()
    )

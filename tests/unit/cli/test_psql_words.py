"""Whose the words of `howdah psql` are."""

import pytest
from typer.main import get_command

from howdah.cli.main import app


def understood(*words: str) -> tuple[dict[str, str | None], list[str]]:
    """Our options that were given, and what psql gets."""
    command = get_command(app).commands["psql"]  # type: ignore[attr-defined]
    context = command.make_context("psql", list(words))
    defaults = {"user": None, "database": "postgres", "namespace": None, "kubeconfig": None, "context": None}
    return {key: value for key, value in context.params.items() if value != defaults.get(key)}, context.args


@pytest.mark.parametrize(
    ("words", "ours", "theirs"),
    [
        (["x", "-vname=1", "-c", "select 1"], {}, ["-vname=1", "-c", "select 1"]),
        (["x", "-fdump.sql"], {}, ["-fdump.sql"]),
        (["x", "-vHOME_DIR=Unit"], {}, ["-vHOME_DIR=Unit"]),
        (["x", "-tAn"], {}, ["-tAn"]),
        (["x", "-X", "-n"], {}, ["-X", "-n"]),
        (["x", "-c", "select 1", "-n", "--dbname", "d"], {}, ["-c", "select 1", "-n", "--dbname", "d"]),
        (["x", "other"], {}, ["other"]),
        (
            ["x", "-U", "app", "-dfoo", "-n", "ns", "-At"],
            {"user": "app", "database": "foo", "namespace": "ns"},
            ["-At"],
        ),
        (["--user=app", "--namespace", "ns", "x", "-1"], {"user": "app", "namespace": "ns"}, ["-1"]),
        (["x", "--", "-n", "--"], {}, ["-n", "--"]),
        (["x", "-d", "foo", "--", "-d", "bar"], {"database": "foo"}, ["-d", "bar"]),
        (["x"], {}, []),
    ],
)
def test_from_the_first_word_that_is_not_ours_all_are_psqls(
    words: list[str], ours: dict[str, str], theirs: list[str]
) -> None:
    assert understood(*words) == ({"name": "x", **ours}, theirs)

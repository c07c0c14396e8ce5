"""What the dump's sessions begin with, in the environment of its programs."""

from __future__ import annotations

from collections.abc import Mapping

from howdah.model.postgres.session import OUR_OWN, as_options

SETTINGS = {**OUR_OWN, "statement_timeout": "0"}  # pg_dump resets that, by its fifth statement or so


def session_variables(environ: Mapping[str, str], *, all_utf8: bool) -> dict[str, str]:
    """`environ` with what libpq reads at a session's start; what a person has set there stays in force.

    `all_utf8`: every database is, so that nothing gets lost where the client's encoding is theirs; a database may say another
    one in which not all of its text can be written. Where one is something else, each is dumped as it says.
    """
    encoding = {"PGCLIENTENCODING": "UTF8"} if all_utf8 else {}
    # The password is proved, never sent; a libpq older than 16 knows no such word.
    words = {"PGREQUIREAUTH": "!password", **encoding, **environ}
    return words | {"PGOPTIONS": f"{as_options(SETTINGS)} {environ.get('PGOPTIONS', '')}".strip()}

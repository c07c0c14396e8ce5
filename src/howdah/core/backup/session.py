"""The dump's sessions are the superuser's, whatever is set for a database: by its owner, who may set much, or by mistake.

`ALTER DATABASE … SET` acts on every session of the database, the superuser's too. What is sent at its start wins.
"""

from __future__ import annotations

from collections.abc import Mapping

SETTINGS = (
    "role=none",  # another role may not read everything
    "default_transaction_isolation=read\\ committed",  # a replica refuses serializable; pg_dump asks for its own later
    "local_preload_libraries=",  # one that does not exist refuses every session
    "statement_timeout=0",  # pg_dump resets it, by its fifth statement or so
    "client_min_messages=warning",  # debug5 is a line in the job's log for each step of each statement
)


def session_variables(environ: Mapping[str, str], *, all_utf8: bool) -> dict[str, str]:
    """`environ` with what libpq reads at a session's start; what a person has set there stays in force.

    `all_utf8`: every database is, so that nothing gets lost where the client's encoding is theirs; a database may say another
    one in which not all of its text can be written. Where one is something else, each is dumped as it says.
    """
    ours = " ".join(f"-c {setting}" for setting in SETTINGS)
    encoding = {"PGCLIENTENCODING": "UTF8"} if all_utf8 else {}
    # The password is proved, never sent; a libpq older than 16 knows no such word.
    words = {"PGREQUIREAUTH": "!password", **encoding, **environ}
    return words | {"PGOPTIONS": f"{ours} {environ.get('PGOPTIONS', '')}".strip()}

"""PgBouncer's list of users: a line each, names and passwords in double quotes (auth_file)."""

from collections.abc import Iterable


def user_list_text(users: Iterable[tuple[str, str]]) -> str:
    """The file for (name, password or verifier), in this order.

    https://www.pgbouncer.org/config.html#authentication-file-format
    """
    return "".join(f"{_quoted(name)} {_quoted(password)}\n" for name, password in users)


def with_others(name: str, password: str, mounted: str) -> str:
    """The line of one user, then those of a mounted list that are not about it."""
    others = (line for line in mounted.splitlines() if line.strip() and not line.startswith(f"{_quoted(name)} "))
    return user_list_text([(name, password)]) + "".join(f"{line}\n" for line in others)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'

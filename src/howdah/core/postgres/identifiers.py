"""Which names and lists of names PostgreSQL takes, told before the server is asked; nothing is quoted here."""

import re

MAX_NAME_BYTES = 63
"""NAMEDATALEN - 1: the server cuts longer names silently, so that they would never be found again."""

_ROLE_NAME = re.compile(r"[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*")
_DATABASE_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_PARAMETER_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)*")
_RESERVED_ROLES = frozenset({"public", "none"})
_TEMPLATES = frozenset({"template0", "template1"})

LIST_PARAMETERS = frozenset(
    {
        "local_preload_libraries",
        "oauth_validator_libraries",
        "search_path",
        "session_preload_libraries",
        "shared_preload_libraries",
        "temp_tablespaces",
        "unix_socket_directories",
    }
)
"""Parameters whose value is a list that the server stores with its items quoted (GUC_LIST_QUOTE)."""

_FOLDED_LISTS = frozenset({"search_path", "temp_tablespaces"})


def role_name_fault(name: str) -> str | None:
    """Why `name` cannot be a role of a manifest, or None. The pattern is the reference's."""
    if not _ROLE_NAME.fullmatch(name):
        return f'"{name}" is not a role name; write lower-case letters, digits, "-", "_" and "." between them'
    if name in _RESERVED_ROLES or name.startswith("pg_"):
        return f'"{name}" is reserved by PostgreSQL; choose another name'
    return length_fault(name)


def database_name_fault(name: str) -> str | None:
    """Why `name` cannot be a database of a manifest, or None."""
    if name in _TEMPLATES:
        return f'"{name}" is what PostgreSQL makes databases from; choose another name'
    return plain_name_fault(name)


def prepared_name_fault(name: str) -> str | None:
    """Why `name` cannot be a prepared database, or None: its roles begin with it."""
    if f"{name}_".startswith("pg_"):
        return (
            f'"{name}" would have roles that begin with "pg_", which PostgreSQL keeps for itself; choose another name'
        )
    return database_name_fault(name)


def schema_name_fault(name: str) -> str | None:
    """Why `name` cannot be a schema of a manifest, or None."""
    if name == "information_schema" or name.startswith("pg_"):
        return f'"{name}" is reserved by PostgreSQL; choose another name'
    return plain_name_fault(name)


def plain_name_fault(name: str) -> str | None:
    """Why `name` needs quotes or is too long, or None. The pattern is the reference's."""
    if not _DATABASE_NAME.fullmatch(name):
        return f'"{name}" is not a plain name; write letters, digits and "_", not beginning with a digit'
    return length_fault(name)


def length_fault(name: str) -> str | None:
    """Why the server would cut `name`, or None."""
    size = len(name.encode())
    if size > MAX_NAME_BYTES:
        return f'"{name}" has {size} bytes; PostgreSQL keeps {MAX_NAME_BYTES}, choose a shorter name'
    return None


def parameter_name_fault(name: str) -> str | None:
    """Why `name` cannot be a configuration parameter, or None."""
    if not _PARAMETER_NAME.fullmatch(name):
        return f'"{name}" is not a parameter name; write it as in postgresql.conf'
    return None


def setting_items(parameter: str, value: str) -> tuple[str, ...]:
    """What `value` of `parameter` means: the list's items without quotes, or the one value.

    Items outside quotes are lower-cased where they are identifiers, as the server does it.
    """
    name = parameter.lower()
    if name not in LIST_PARAMETERS:
        return (value,)
    items = tuple(text.lower() if not quoted and name in _FOLDED_LISTS else text for text, quoted in _list_items(value))
    return items or ("",)  # how the server stores the empty list


_ITEM = re.compile(r"""\s*(?:"((?:[^"]|"")*)"|'((?:[^']|'')*)'|([^,"']*))\s*(?:,|$)""")


def _list_items(value: str) -> list[tuple[str, bool]]:
    """Items and whether each was quoted; single quotes, which people write by mistake, count as quotes."""
    items: list[tuple[str, bool]] = []
    position = 0
    while position < len(value):
        match = _ITEM.match(value, position)
        if match is None:  # not a list after all: compared and sent as it is
            return [(value, True)]
        double, single, bare = match.groups()
        if double is not None:
            items.append((double.replace('""', '"'), True))
        elif single is not None:
            items.append((single.replace("''", "'"), True))
        elif bare.strip():
            items.append((bare.strip(), False))
        position = match.end()
    return items

"""What our sessions begin with, whatever is set for a database: by its owner, who may set much, or by mistake."""

from collections.abc import Mapping

OUR_OWN: Mapping[str, str] = {
    "role": "none",  # another role may not read everything
    "local_preload_libraries": "",  # one that does not exist refuses every session
    "default_transaction_isolation": r"read\ committed",  # a replica refuses serializable; pg_dump asks for its own later
    "client_min_messages": "warning",  # before 12 it may keep even errors from us; debug5 logs each step
}
"""`ALTER DATABASE … SET` acts on every session of the database, the superuser's too. What is sent at its start wins."""


def as_options(settings: Mapping[str, str]) -> str:
    """As PGOPTIONS has them; in values, spaces are escaped."""
    return " ".join(f"-c {name}={value}" for name, value in settings.items())

"""What there is to dump: asked before it begins, so that the upload can be cut for it."""

from __future__ import annotations

import json
import logging
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from psycopg.conninfo import make_conninfo

TIMEOUT_S = 120
"""Every file of every database is looked at."""
QUERY = """
SELECT json_build_object(
  'size_bytes', sum(pg_catalog.pg_database_size(oid)) FILTER (WHERE datallowconn),
  'all_utf8', bool_and(pg_catalog.pg_encoding_to_char(encoding) = 'UTF8') FILTER (WHERE datallowconn),
  'closed', coalesce(json_agg(datname ORDER BY datname) FILTER (WHERE NOT datallowconn AND datname <> 'template0'), '[]'))
  FROM pg_catalog.pg_database
"""

log = logging.getLogger("howdah.instance.backup")


@dataclass(frozen=True, slots=True)
class Survey:
    """Databases that can be dumped: their bytes on disk, whether each is in UTF-8; and `closed`, which admit no session."""

    size_bytes: int
    all_utf8: bool
    closed: tuple[str, ...]


def survey(psql: Path, conninfo: str, environ: Mapping[str, str]) -> Survey | None:
    """None, with the reason in the log, where it is not to be had: the dump itself says what is wrong with the server."""
    command = [str(psql), "-X", "-A", "-t", "-q", "-w", "-d", make_conninfo(conninfo, dbname="postgres"), "-c", QUERY]
    try:
        ended = subprocess.run(command, check=True, timeout=TIMEOUT_S, env=dict(environ), stdout=subprocess.PIPE)
        return Survey(**{**(found := json.loads(ended.stdout)), "closed": tuple(found["closed"])})
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("how large the databases are is not known: %s", _said(error))
        return None


def _said(error: Exception) -> str:
    """Without the whole command."""
    if isinstance(error, subprocess.CalledProcessError):
        return f"psql ended with code {error.returncode}; its reason is above"
    return f"no answer in {TIMEOUT_S} s" if isinstance(error, subprocess.TimeoutExpired) else str(error)

"""Who may connect how: the contract's pg_hba.conf, and what becomes of its lines where the build lacks a feature.

Lines are `TYPE DATABASE USER [ADDRESS] METHOD [OPTIONS]`:
https://www.postgresql.org/docs/current/auth-pg-hba-conf.html.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from howdah.core.spilo.environment import Request
from howdah.core.spilo.machine import Dropped, Installation
from howdah.core.spilo.template import FEATURE_OF_METHOD

_LOOPBACKS = ("127.0.0.1/32", "::1/128")
_LOCAL_TYPE = "local"


def default_lines(request: Request) -> list[str]:
    """In the contract's order. Passwords are checked by SCRAM: `md5` means the method that the stored verifier has."""
    humans, standby = f"+{request.human_role}", request.standby.username
    uses_pam = request.pam_oauth2 is not None
    lines = [_line("local", "all", "all", "trust")]
    for loopback in _LOOPBACKS:
        if uses_pam:
            lines.append(_line("hostssl", "all", humans, loopback, "pam"))
        lines.append(_line("host", "all", "all", loopback, "md5"))
    lines.append(_line("local", "replication", standby, "trust"))
    lines.append(_line("hostssl", "replication", standby, "all", "md5"))
    if not request.allow_plain_connections:
        lines.append(_line("hostnossl", "all", "all", "all", "reject"))
    if uses_pam:
        lines.append(_line("hostssl", "all", humans, "all", "pam"))
    lines.append(_line("host" if request.allow_plain_connections else "hostssl", "all", "all", "all", "md5"))
    return lines


def possible_lines(lines: Iterable[str], build: Installation) -> tuple[list[str], tuple[Dropped, ...]]:
    """The lines that this build can serve.

    Without OpenSSL a line for encrypted connections becomes one for all (else nobody could connect), and one for
    unencrypted connections goes. A line whose method the build does not know would keep the server from starting.
    """
    kept: list[str] = []
    impossible: dict[str, list[str]] = {}
    for line, fields in _parsed(lines):
        if fields and (missing := _missing_feature(fields, build)) is not None:
            impossible.setdefault(missing, []).append(" ".join(fields))
        elif fields and fields[0] in ("hostssl", "hostnossl") and "openssl" not in build.features:
            if fields[0] == "hostssl":
                kept.append("\t".join(("host", *fields[1:])))
        else:
            kept.append(line)
    return kept, tuple(
        Dropped(f"pg_hba: {'; '.join(gone)}", f"these binaries were built without {feature}")
        for feature, gone in impossible.items()
    )


def _parsed(lines: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    for line in lines:
        yield line, line.partition("#")[0].split()


def _missing_feature(fields: list[str], build: Installation) -> str | None:
    """The method's place depends on the address, which may have a mask of its own: so look at all fields after the user."""
    start = 3 if fields[0] == _LOCAL_TYPE else 4
    for field in fields[start : start + 2]:
        feature = FEATURE_OF_METHOD.get(field)
        if feature is not None and feature not in build.features:
            return feature
    return None


def _line(*fields: str) -> str:
    return "\t".join(fields)

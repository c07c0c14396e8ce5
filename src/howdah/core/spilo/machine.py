"""What the instance found on the machine it runs on, as values: memory, locale, and what the PostgreSQL binaries can do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Installation:
    """One PostgreSQL installation.

    `features`: what it was built with: `openssl`, `icu`, `pam`, `ldap`, `gssapi`, …
    `libraries`: names that `shared_preload_libraries` may hold; `extensions`: names that CREATE EXTENSION knows.
    """

    major: int
    bin_dir: str
    features: frozenset[str] = frozenset()
    libraries: frozenset[str] = frozenset()
    extensions: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Machine:
    """Everything that is not in the environment but decides the configuration."""

    postgres: Installation
    memory_bytes: int  # what this member may use, not what the host has
    utf8_locale: str  # the asked-for locale where the machine has it, else C.UTF-8
    post_init_sql: str  # path of the statements that run once after initdb
    create_replica: str  # command that makes a replica's data directory
    before_promotion: str  # command that Patroni runs when this member holds the lock, before it is promoted
    before_stop: str  # command that Patroni runs before it stops PostgreSQL
    refuse_bootstrap: str  # command that fails, for a cluster that was to begin with other data than initdb's
    stand_ins: Mapping[str, str]  # by name of a program of PostgreSQL: the one that Patroni is to run instead
    kube_context: str | None = None  # of KUBECONFIG; None inside a Kubernetes pod
    api_servers: int | None = None  # addresses behind the service `kubernetes`; None where they cannot be told


@dataclass(frozen=True, slots=True)
class Dropped:
    """Something asked for (or built in) that this machine cannot do; the instance logs each once."""

    what: str
    why: str

    def __str__(self) -> str:
        """One line for the log."""
        return f"left out: {self.what} ({self.why})"

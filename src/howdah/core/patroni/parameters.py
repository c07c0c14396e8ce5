"""Which server parameters live in the pod (a change rolls it) and which in Patroni's dynamic configuration.

The list is the contract's (the reference and Spilo agree on it); everything that is not on it is dynamic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

LOCAL = frozenset(
    {
        "archive_command",
        "bg_mon.history_buckets",
        "bg_mon.listen_address",
        "extwlist.custom_path",
        "extwlist.extensions",
        "log_destination",
        "log_directory",
        "log_file_mode",
        "log_filename",
        "log_rotation_age",
        "log_truncate_on_rotation",
        "logging_collector",
        "pg_stat_statements.track_utility",
        "shared_buffers",
        "shared_preload_libraries",
        "ssl",
        "ssl_ca_file",
        "ssl_cert_file",
        "ssl_crl_file",
        "ssl_key_file",
    }
)


@dataclass(frozen=True, slots=True)
class Parameters:
    """A manifest's `postgresql.parameters`, split by where each has to be written."""

    local: Mapping[str, str]
    dynamic: Mapping[str, str]


def split(parameters: Mapping[str, str]) -> Parameters:
    """Names are compared exactly, as the reference does: `Shared_Buffers` is dynamic."""
    return Parameters(
        local={name: value for name, value in sorted(parameters.items()) if name in LOCAL},
        dynamic={name: value for name, value in sorted(parameters.items()) if name not in LOCAL},
    )

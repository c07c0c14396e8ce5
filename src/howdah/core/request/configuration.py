"""What Patroni is told: the document of SPILO_CONFIGURATION, and what is asked of its live configuration.

The bootstrap section acts once, when the first member initialises the cluster; later only the live configuration counts.
"""

from collections.abc import Mapping
from typing import Any

from howdah.core.patroni.parameters import split
from howdah.core.request.asked import Asked, Json
from howdah.core.request.version import Version
from howdah.model.spec import Patroni

_INITDB_SWITCHES = frozenset({"data-checksums", "debug", "no-locale", "noclean", "nosync", "sync-only"})
_INITDB = {"auth-host": "scram-sha-256", "auth-local": "trust"}
_TIMES = ("ttl", "loop_wait", "retry_timeout", "maximum_lag_on_failover")
_SYNCHRONOUS = ("synchronous_mode", "synchronous_mode_strict", "synchronous_node_count")


def spilo_configuration(asked: Asked, version: Version) -> dict[str, Any]:
    """The document of SPILO_CONFIGURATION. A live bootstrap section stays: another one would change nothing."""
    bootstrap = asked.live.spilo_bootstrap
    return {"postgresql": _local(asked, version), "bootstrap": _bootstrap(asked) if bootstrap is None else bootstrap}


def dynamic_configuration(asked: Asked) -> dict[str, Any]:
    """The keys of the live configuration that the manifest speaks of; a zero time is not spoken of, as in bootstrap."""
    patroni = asked.spec.patroni or Patroni()
    found: dict[str, Any] = {key: value for key in _TIMES if (value := getattr(patroni, key))}
    found |= {key: value for key in _SYNCHRONOUS if (value := getattr(patroni, key)) is not None}
    if patroni.slots is not None:
        found["slots"] = patroni.slots
    if patroni.failsafe_mode is not None or asked.settings.enable_patroni_failsafe_mode:
        found["failsafe_mode"] = patroni.failsafe_mode is not False
    parameters = dict(split(asked.spec.postgresql.parameters or {}).dynamic)
    if asked.spec.streams:
        parameters["wal_level"] = "logical"
    if parameters:
        found["postgresql"] = {"parameters": parameters}
    return found


def _local(asked: Asked, version: Version) -> Json:
    """Section `postgresql`: it lives in the pod, so a change of it rolls."""
    found: dict[str, Any] = {}
    if not asked.settings.enable_pgversion_env_var:
        # As the reference: the manifest's version, also where mode `full` would raise it.
        major = asked.spec.postgresql.version if version.held is None else version.told
        found["bin_dir"] = f"/usr/lib/postgresql/{major}/bin"
    if parameters := split(asked.spec.postgresql.parameters or {}).local:
        found["parameters"] = dict(parameters)
    if asked.spec.patroni is not None and asked.spec.patroni.pg_hba:
        found["pg_hba"] = list(asked.spec.patroni.pg_hba)
    return found


def _bootstrap(asked: Asked) -> Json:
    patroni = asked.spec.patroni or Patroni()
    dcs: dict[str, Any] = {key: value for key in (*_TIMES, *_SYNCHRONOUS) if (value := getattr(patroni, key))}
    if patroni.slots:
        dcs["slots"] = {name: dict(sorted(slot.items())) for name, slot in sorted(patroni.slots.items())}
    if parameters := split(asked.spec.postgresql.parameters or {}).dynamic:
        dcs["postgresql"] = {"parameters": dict(parameters)}
    # With failsafe mode a leader outlives an API server that is away; a new cluster has it unless the manifest refuses.
    dcs["failsafe_mode"] = patroni.failsafe_mode is not False
    return {"initdb": _initdb(patroni.initdb or {}), "dcs": dcs}


def _initdb(written: Mapping[str, str]) -> list[Any]:
    """A written option replaces a default in its place, others follow by name."""
    options = {**_INITDB, **dict(sorted(written.items()))}
    return [
        name if name in _INITDB_SWITCHES and value.lower() == "true" else {name: value}
        for name, value in options.items()
    ]

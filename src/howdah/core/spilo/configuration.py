"""The document that Patroni reads: the contract's built-in template, the user's SPILO_CONFIGURATION merged over it,
and then whatever this machine's binaries cannot do taken out, each with its reason.

Merging is Spilo's: mappings recurse, lists and scalars of the user win whole.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from howdah.core.patroni.credentials import derived_credentials
from howdah.core.patroni.dynamic import boolean
from howdah.core.spilo import access, template
from howdah.core.spilo.environment import Login, Request
from howdah.core.spilo.machine import Dropped, Machine

MIB = 1024 * 1024
CALLBACKS = ("on_restart", "on_role_change", "on_start", "on_stop")


@dataclass(frozen=True, slots=True)
class Configuration:
    """`document` is patroni.yaml (it holds passwords); `dropped`: what the machine cannot do."""

    document: Mapping[str, Any]
    dropped: tuple[Dropped, ...]


def configuration(request: Request, machine: Machine) -> Configuration:
    """The whole of what Patroni reads on this member."""
    document = merged(_template(request, machine), request.configuration)
    document["postgresql"]["bin_dir"] = machine.postgres.bin_dir  # chosen from data, version and what is installed
    dropped: list[Dropped] = [Dropped(name, "not served by this version of the instance") for name in request.unserved]
    for adapt in _ADAPTATIONS:
        dropped += adapt(document, machine)
    return Configuration(document, tuple(dropped))


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Deep merge; neither argument is changed."""
    result = {key: merged(value, {}) if isinstance(value, Mapping) else value for key, value in base.items()}
    for key, value in over.items():
        if isinstance(value, Mapping):
            below = result.get(key)
            result[key] = merged(below if isinstance(below, Mapping) else {}, value)
        else:
            result[key] = value
    return result


def _template(request: Request, machine: Machine) -> dict[str, Any]:
    return {
        "scope": request.scope,
        "name": request.name,
        "bootstrap": _bootstrap(request, machine),
        "postgresql": _postgresql(request, machine),
        "restapi": _restapi(request),
        "watchdog": {"mode": "off"},  # a watchdog device would reset the whole machine, not this container
        **_store(request, machine),
    }


def _store(request: Request, machine: Machine) -> dict[str, Any]:
    store = merged(request.store, {})
    if "kubernetes" in store:
        section = store["kubernetes"]
        section["namespace"] = request.namespace
        if section.get("use_endpoints"):
            section["pod_ip"] = request.pod_ip
            section["ports"] = [{"name": "postgresql", "port": request.pg_port}]
        if machine.kube_context is not None:
            section["context"] = machine.kube_context
            section["bypass_api_service"] = False  # a kubeconfig names the server; there is no service to bypass
    return store


def _bootstrap(request: Request, machine: Machine) -> dict[str, Any]:
    megabytes = machine.memory_bytes // MIB // template.MEGABYTES_PER_CONNECTION
    connections = min(max(template.CONNECTIONS_MIN, megabytes), template.CONNECTIONS_MAX)
    parameters = {**template.DYNAMIC_PARAMETERS, "max_connections": connections}
    made: dict[str, Any] = {
        "dcs": {**template.DYNAMIC, "postgresql": {**template.DYNAMIC_POSTGRESQL, "parameters": parameters}},
        "initdb": [{"encoding": "UTF8"}, {"locale": machine.utf8_locale}, "data-checksums"],
        "post_init": _post_init(request, machine),
    }
    if request.seed is not None:
        made["method"] = "refused"
        made["refused"] = {"command": f"{machine.refuse_bootstrap} {shlex.quote(request.seed)}"}
    return made


def _post_init(request: Request, machine: Machine) -> str:
    """Patroni adds the connection string. psql quotes the variables where the statements use them."""
    return shlex.join(
        [
            f"{machine.postgres.bin_dir}/psql",
            *("--no-psqlrc", "--quiet", "--output=/dev/null", "--set=ON_ERROR_STOP=1", "--single-transaction"),
            f"--set=human_role={request.human_role}",
            f"--set=extensions={','.join(_extensions(machine))}",
            f"--file={machine.post_init_sql}",
        ]
    )


def _extensions(machine: Machine) -> list[str]:
    """Those that the binaries have, with the library that they need."""
    build = machine.postgres
    return [
        name
        for name, library in template.EXTENSIONS.items()
        if name in build.extensions and (library is None or library in build.libraries)
    ]


def _postgresql(request: Request, machine: Machine) -> dict[str, Any]:
    address = request.postgres_address or request.pod_ip
    listen = request.pod_ip if request.shares_loopback else "*"
    section: dict[str, Any] = {
        "authentication": {"superuser": _login(request.superuser), "replication": _login(request.standby)},
        "basebackup": [{"checkpoint": "fast"}],
        "basebackup_with_slot": {"command": machine.create_replica},
        "connect_address": _netloc(address, request.pg_port),
        "create_replica_methods": ["basebackup_with_slot", "basebackup"],
        "data_dir": request.paths.data,
        "listen": _netloc(listen, request.pg_port),
        "parameters": _local_parameters(request, machine),
        "pg_hba": access.default_lines(request),
        "pgpass": f"{request.paths.sockets}/pgpass",
        "use_unix_socket": True,
        "use_unix_socket_repl": True,
    }
    if "kubernetes" in request.store and not request.store["kubernetes"].get("use_endpoints"):
        # In Endpoints mode services go by the lock itself.
        section["pre_promote"], section["before_stop"] = machine.before_promotion, machine.before_stop
    if machine.stand_ins:
        section["bin_name"] = dict(machine.stand_ins)
    if request.callback is not None:
        section["callbacks"] = dict.fromkeys(CALLBACKS, request.callback)
    return section


def _local_parameters(request: Request, machine: Machine) -> dict[str, Any]:
    buffers = machine.memory_bytes // MIB // template.SHARED_BUFFERS_PART_OF_MEMORY
    files = {
        "ssl_ca_file": request.tls.ca_file,
        "ssl_cert_file": request.tls.certificate_file,
        "ssl_crl_file": request.tls.crl_file,
        "ssl_key_file": request.tls.key_file,
    }
    return {
        **template.LOCAL_PARAMETERS,
        "bg_mon.listen_address": request.pod_ip,
        "shared_buffers": f"{max(buffers, template.SHARED_BUFFERS_MIN_MB)}MB",
        "shared_preload_libraries": ",".join(template.PRELOADED),
        "unix_socket_directories": request.paths.sockets,
        **{name: path for name, path in files.items() if path is not None},
    }


def _restapi(request: Request) -> dict[str, Any]:
    listen = request.pod_ip if request.shares_loopback else "*"
    section: dict[str, Any] = {
        "connect_address": _netloc(request.restapi_address or request.pod_ip, request.api_port),
        "listen": _netloc(listen, request.api_port),
        **request.restapi_tls,
    }
    if request.protects_restapi:
        derived = derived_credentials(request.superuser.username, request.superuser.password)
        section["authentication"] = {"username": derived.username, "password": derived.password}
    return section


def _login(login: Login) -> dict[str, str]:
    return {"username": login.username, "password": login.password}


def _netloc(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _without_tls(document: dict[str, Any], machine: Machine) -> list[Dropped]:
    parameters = document["postgresql"]["parameters"]
    if "openssl" in machine.postgres.features or parameters.get("ssl") == "off":
        return []
    for name in [name for name in parameters if name.startswith("ssl_")]:
        del parameters[name]
    parameters["ssl"] = "off"
    why = f"the PostgreSQL {machine.postgres.major} binaries were built without OpenSSL"
    return [Dropped("TLS for database connections; hostssl lines of pg_hba serve all connections", why)]


def _possible_access(document: dict[str, Any], machine: Machine) -> list[Dropped]:
    kept, dropped = access.possible_lines(document["postgresql"].get("pg_hba") or [], machine.postgres)
    document["postgresql"]["pg_hba"] = kept
    return list(dropped)


def _present_libraries(document: dict[str, Any], machine: Machine) -> list[Dropped]:
    """A missing library would keep the server from starting."""
    parameters = document["postgresql"]["parameters"]
    asked = [name.strip() for name in str(parameters.get("shared_preload_libraries") or "").split(",")]
    present = [name for name in asked if name and ("/" in name or name in machine.postgres.libraries)]
    missing = [name for name in asked if name and name not in present]
    parameters["shared_preload_libraries"] = ",".join(present)
    for name in list(parameters):
        library = template.LIBRARY_OF_PREFIX.get(name.partition(".")[0]) if "." in name else None
        if library is not None and library not in present:
            del parameters[name]
    why = f"not installed for PostgreSQL {machine.postgres.major}"
    return [Dropped(f"shared_preload_libraries: {', '.join(missing)}", why)] if missing else []


def _present_extensions(document: dict[str, Any], machine: Machine) -> list[Dropped]:
    del document
    missing = [name for name in template.EXTENSIONS if name not in _extensions(machine)]
    why = f"not installed for PostgreSQL {machine.postgres.major}"
    return [Dropped(f"extensions in database postgres: {', '.join(missing)}", why)] if missing else []


def _possible_initdb(document: dict[str, Any], machine: Machine) -> list[Dropped]:
    kept, dropped = [], []
    for option in document["bootstrap"].get("initdb") or []:
        name, value = next(iter(option.items())) if isinstance(option, Mapping) else (option, None)
        needs_icu = name in template.ICU_OPTIONS or (name == "locale-provider" and value == "icu")
        if needs_icu and "icu" not in machine.postgres.features:
            dropped.append(Dropped(f"initdb option {name}", "these binaries were built without ICU"))
        else:
            kept.append(option if value is None else {name: str(value)})  # Patroni takes texts only
    document["bootstrap"]["initdb"] = kept
    return dropped


def _bypassed_service(document: dict[str, Any], machine: Machine) -> list[Dropped]:
    """Whether Patroni asks for the API servers' own addresses once per loop, where nobody has decided it.

    The contract does so always, so that a server that has died costs one try. It is for nothing where there is one server.
    And a leader that is cut off waits for that answer, too, before it steps down, so there must be time for it: with Patroni's
    defaults and failsafe mode it would go on for two seconds after its lock has expired. The price there is that a renewal
    has as many tries as fit into `retry_timeout`, each with one of the servers.
    """
    if "kubernetes" in document:
        dcs = document["bootstrap"].get("dcs") or {}
        has_time = steps_down_after_s(dcs) < _seconds(dcs, "ttl")
        document["kubernetes"].setdefault("bypass_api_service", machine.api_servers != 1 and has_time)
    return []


def steps_down_after_s(dcs: Mapping[str, Any]) -> float:
    """How long after its last renewal a leader that is cut off, and asks for addresses, stops at the latest.

    Measured with Patroni 4.1: three quarters of `retry_timeout` for the addresses, once it for the lock and up to a second
    of its last try, two tries of two seconds with each of the other members.
    """
    addresses_and_lock = 1.75 * _seconds(dcs, "retry_timeout") + 1.0
    members = 4.0 if boolean(dcs.get("failsafe_mode")) else 0.0
    return _seconds(dcs, "loop_wait") + addresses_and_lock + members


def _seconds(dcs: Mapping[str, Any], key: str) -> float:
    """Patroni takes numbers as text, too, and its default for anything else."""
    try:
        return float(dcs[key])
    except (KeyError, TypeError, ValueError):
        return float(template.DYNAMIC[key])


_ADAPTATIONS: tuple[Callable[[dict[str, Any], Machine], list[Dropped]], ...] = (
    _without_tls,
    _possible_access,
    _present_libraries,
    _present_extensions,
    _possible_initdb,
    _bypassed_service,
)

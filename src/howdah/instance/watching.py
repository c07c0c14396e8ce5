"""A thread beside Patroni that looks at its server, and helps where Patroni by itself would be late or wait for nothing.

Patroni is woken when the postmaster has died, or a replica receives nothing: by itself it looks once per `loop_wait`.

It is woken by its own REST API, with a change of the configuration that changes nothing, and then decides as always. A clean
stop takes `postmaster.pid` away, so what is left of a dead process there is a crash. PostgreSQL refuses to start as long
as a process of the dead server holds its shared memory, and Patroni then gives the lock away: so those end first.

A replica without a WAL receiver may have lost its leader, or may be a former leader whose node came back and that has to be
rewound. When Patroni can do something about it depends on what it has heard of others: so it is woken every second for a while.
What it hears comes by two watches, and after a node was cut off these may hang for 12 seconds more, until the API server's TCP
tries again: so for a former leader they are begun anew. While its server stops, `senders` looks for replicas out of reach.

Without this thread everything works as Patroni does it: it says what keeps it from its work, and ends.
"""

from __future__ import annotations

import base64
import ctypes
import http.client
import itertools
import json
import logging
import os
import select
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from howdah.instance.senders import Senders, children, is_cut_off, title

LOOK_S = 0.2  # while there is no server
SOON_S = 0.3  # for one that has just begun
AGAIN_S = 1.0
LONELY_CALLS = 30  # then Patroni's own loop goes on
HEAR_ANEW_AT = 2  # the first look may come before a replica has its WAL receiver
LOOKS_PER_TIDYING = 60
POLL_S = 0.02
LEFT_BEHIND_S = 10.0
TRY_AGAIN_S = 0.5
TIMEOUT_S = 3.0
TRIES = 3
SHARED_MEMORY = Path("/proc/sysvipc/shm")
NO_SUCH_SETTING = "howdah"

log = logging.getLogger(__name__)
T = TypeVar("T")


def begin(patroni_yaml: Path) -> threading.Thread:
    """Start the thread; it ends with the process."""
    thread = threading.Thread(target=_run, args=(patroni_yaml,), name="postmaster", daemon=True)
    thread.start()
    return thread


def _run(patroni_yaml: Path) -> None:
    try:
        data = Path(_read(patroni_yaml)["postgresql"]["data_dir"])
        watch(data, lambda: wake(_read(patroni_yaml)["restapi"]), begin_watches_anew, give_memory_back)
    except Exception:
        log.exception("a dead postmaster will be noticed by Patroni's own loop only")


def give_memory_back() -> None:
    """What Patroni has freed, which the C library would keep: see malloc_trim(3)."""
    if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)


def begin_watches_anew() -> None:
    """Those of Patroni's Kubernetes DCS: it ends them so when it doubts the API server. Each then lists what there is."""
    for thread in threading.enumerate():
        if isinstance(thread, _Watch):
            thread.kill_stream()


@runtime_checkable
class _Watch(Protocol):
    def kill_stream(self) -> None: ...


def _read(patroni_yaml: Path) -> Mapping[str, Any]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    document: Mapping[str, Any] = yaml.load(patroni_yaml.read_text(), loader)  # noqa: S506
    return document


def watch(
    data: Path,
    wake: Callable[[], None],
    hear_anew: Callable[[], None] = lambda: None,
    tidy: Callable[[], None] = lambda: None,
) -> None:
    """Call `wake` when the postmaster of this data directory dies and for a replica that receives nothing; never returns.

    Before that `hear_anew` is called where the server led. `tidy` is called once a minute while the server runs.
    """
    alive, lonely, led, wait_s = None, 0, False, SOON_S
    senders = Senders(data, os.environ)
    for look in itertools.count(1):
        pid = postmaster(data)
        if pid is not None and pid != alive and exists(pid):
            alive, wait_s = pid, SOON_S
        if pid is None or pid != alive:
            time.sleep(LOOK_S)
        elif ended_within(pid, wait_s):
            alive, lonely = None, 0
            if _is_left_behind(data, pid):
                log.warning("the postmaster (pid %s) has died: waking Patroni", pid)
                _wake_for(data, pid, wake)
        else:
            wait_s = AGAIN_S
            if ended := _quietly(partial(senders.end_unreachable, pid, time.monotonic())):
                log.warning("the server stops, and replicas cannot be reached: WAL senders %s are to end", ended)
            lonely = lonely + 1 if receives_nothing(data, pid) else 0
            led = led if lonely else not is_standby(data)
            if led and lonely and (lonely == HEAR_ANEW_AT or is_cut_off(os.environ)):
                _quietly(hear_anew)
                led = False
            if 0 < lonely <= LONELY_CALLS:
                _try(wake)
            if look % LOOKS_PER_TIDYING == 0:
                tidy()


def _quietly(help_patroni: Callable[[], T]) -> T | None:
    """What goes wrong is told: waking Patroni is what must go on."""
    try:
        return help_patroni()
    except Exception:
        log.exception("Patroni gets less help than it could")
        return None


def _is_left_behind(data: Path, pid: int) -> bool:
    """Once it is no zombie any more, for which Patroni would take it as running, and nobody holds its memory."""
    deadline = time.monotonic() + LEFT_BEHIND_S
    while postmaster(data) == pid and time.monotonic() < deadline:
        if not exists(pid) and not holds_memory(data):
            return True
        time.sleep(POLL_S)
    return False


def _wake_for(data: Path, pid: int, wake: Callable[[], None]) -> None:
    for _ in range(TRIES):
        if _try(wake):
            return
        time.sleep(TRY_AGAIN_S)
        if postmaster(data) != pid:
            return


def _try(wake: Callable[[], None]) -> bool:
    try:
        wake()
    except (OSError, http.client.HTTPException) as error:
        log.warning("Patroni cannot be woken: %s", error)
        return False
    return True


def postmaster(data: Path) -> int | None:
    """The pid that the data directory names; None without a server."""
    try:
        return int((data / "postmaster.pid").read_text().partition("\n")[0])
    except (OSError, ValueError):
        return None


def is_standby(data: Path) -> bool:
    """By what PostgreSQL reads when it starts; a promotion takes it away."""
    return (data / "standby.signal").exists()


def receives_nothing(data: Path, pid: int) -> bool:
    """Whether this server is a replica without a WAL receiver; no where that cannot be told."""
    if not is_standby(data):
        return False
    found = children(pid)
    return bool(found) and not any(b"walreceiver" in title(child) for child in found)


def holds_memory(data: Path, table: Path = SHARED_MEMORY) -> bool:
    """Whether a process is attached to the shared memory that `postmaster.pid` names (line 7: key and id)."""
    try:
        segment = (data / "postmaster.pid").read_text().splitlines()[6].split()[1]
    except (OSError, IndexError):
        return False  # none was made
    rows = [line.split() for line in table.read_text().splitlines()]
    return any(row[1] == segment and row[6] != "0" for row in rows[1:])


def ended_within(pid: int, timeout_s: float) -> bool:
    """Whether the process has ended in this time."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    except OSError:  # an older kernel, or one that forbids it
        return _polled(pid, timeout_s)
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        return bool(poll.poll(timeout_s * 1000))
    finally:
        os.close(handle)


def _polled(pid: int, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while exists(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def exists(pid: int) -> bool:
    """Zombies do, too."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's
    return True


def wake(restapi: Mapping[str, Any]) -> None:
    """Ask Patroni's REST API. Raises OSError or http.client.HTTPException where it does not answer as it should."""
    host, _, port = str(restapi["connect_address"]).rpartition(":")
    host = host.strip("[]")
    connection = http.client.HTTPConnection(host, int(port), timeout=TIMEOUT_S)
    if restapi.get("certfile"):
        connection = http.client.HTTPSConnection(host, int(port), timeout=TIMEOUT_S, context=_own_tls(restapi))
    headers = {"Content-Type": "application/json"}
    if login := restapi.get("authentication"):
        both = f"{login['username']}:{login['password']}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(both).decode()}"
    try:
        connection.request("PATCH", "/config", json.dumps({NO_SUCH_SETTING: None}), headers)
        answer = connection.getresponse()
        if answer.status != http.client.OK:
            raise OSError(f"{answer.status} {answer.reason}")
    finally:
        connection.close()


def _own_tls(restapi: Mapping[str, Any]) -> ssl.SSLContext:
    """For a talk with ourselves: nothing to verify, and the server's own certificate where clients need one."""
    tls = ssl._create_unverified_context()  # noqa: S323
    if restapi.get("verify_client") in ("required", "optional"):
        tls.load_cert_chain(restapi["certfile"], restapi.get("keyfile"), restapi.get("keyfile_password"))
    return tls

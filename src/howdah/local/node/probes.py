"""Startup, readiness and liveness of a container: when to ask, how often, and after how many answers to believe it.

While a container is not ready it is asked more often than its period says (as Kubernetes may), and readiness does not
wait for the initial delay: an early "yes" is true, an early "no" changes nothing.
"""

import asyncio
import errno
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import aiohttp

EAGER_INTERVAL_S = 0.1
FIRST_INTERVAL_S = 0.03  # for the first seconds: whoever starts fast is ready fast
FIRST_FOR_S = 3.0
EAGER_EXEC_INTERVAL_S = 1.0
EAGER_FOR_S = 120.0

OURS = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN))
"""What the machine lacks for the asking itself."""

Check = Callable[[], Awaitable[str | None]]
"""Asks once: `None` is yes, a text says why not. Raises what keeps us from asking."""
Exec = Callable[[Sequence[str], float], Awaitable[tuple[int, str]]]


@dataclass(frozen=True, slots=True)
class Answer:
    """Of one question. `holds` is `None` where it could not be asked, which says nothing about the container."""

    holds: bool | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Timing:
    """The numbers of a probe, with the defaults of the API."""

    initial_delay_s: float
    period_s: float
    timeout_s: float
    successes: int
    failures: int


def timing(probe: Mapping[str, Any]) -> Timing:
    """The probe's numbers; an absent or zero one has the API's default."""
    return Timing(
        initial_delay_s=probe.get("initialDelaySeconds") or 0,
        period_s=probe.get("periodSeconds") or 10,
        timeout_s=probe.get("timeoutSeconds") or 1,
        successes=probe.get("successThreshold") or 1,
        failures=probe.get("failureThreshold") or 3,
    )


def port_of(port: int | str, container: Mapping[str, Any]) -> int:
    """The number of a port given by number or by the container's name for it."""
    if isinstance(port, int) or port.isdigit():
        return int(port)
    named = {entry.get("name"): int(entry["containerPort"]) for entry in container.get("ports") or ()}
    if port not in named:
        raise ValueError(f'the container has no port named "{port}"')
    return named[port]


def check_of(probe: Mapping[str, Any], container: Mapping[str, Any], pod_ip: str, run: Exec) -> Check:
    """How a probe asks; what cannot be asked here (grpc) always says no, with that reason."""
    timeout_s = timing(probe).timeout_s
    if (command := probe.get("exec")) is not None:
        return partial(_ask_exec, list(command.get("command") or ()), timeout_s, run)
    if (http := probe.get("httpGet")) is not None:
        return partial(_ask_http, http, container, pod_ip, timeout_s)
    if (tcp := probe.get("tcpSocket")) is not None:
        return partial(_ask_tcp, tcp, container, pod_ip, timeout_s)
    return _cannot_ask


async def _cannot_ask() -> str | None:
    return "this probe is of a kind that the local platform does not know: use exec, httpGet or tcpSocket"


async def _ask_exec(argv: list[str], timeout_s: float, run: Exec) -> str | None:
    try:
        code, output = await run(argv, timeout_s)
    except TimeoutError:
        return f"command timed out: {argv} timed out after {timeout_s:g}s"
    return None if code == 0 else output.strip()[-1024:] or f"exit code {code}"


async def _ask_http(
    action: Mapping[str, Any], container: Mapping[str, Any], pod_ip: str, timeout_s: float
) -> str | None:
    scheme = str(action.get("scheme") or "HTTP").lower()
    path = "/" + str(action.get("path") or "/").lstrip("/")
    headers = {entry["name"]: entry["value"] for entry in action.get("httpHeaders") or ()}
    context: ssl.SSLContext | bool = True
    if scheme == "https":
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        url = f"{scheme}://{action.get('host') or pod_ip}:{port_of(action['port'], container)}{path}"
        limit = aiohttp.ClientTimeout(total=timeout_s)
        async with (
            aiohttp.ClientSession(timeout=limit, auto_decompress=False) as session,
            session.get(url, headers=headers, ssl=context, allow_redirects=False) as answer,
        ):
            return None if 200 <= answer.status < 400 else f"HTTP probe failed with statuscode: {answer.status}"
    except TimeoutError:
        return f"no answer within {timeout_s:g}s"
    except (aiohttp.ClientError, OSError, ValueError) as problem:
        return _said(problem)


async def _ask_tcp(
    action: Mapping[str, Any], container: Mapping[str, Any], pod_ip: str, timeout_s: float
) -> str | None:
    try:
        port = port_of(action["port"], container)
        async with asyncio.timeout(timeout_s):
            _, writer = await asyncio.open_connection(action.get("host") or pod_ip, port)
        writer.close()
    except TimeoutError:
        return f"no connection within {timeout_s:g}s"
    except (OSError, ValueError) as problem:
        return _said(problem)
    return None


def _said(problem: Exception) -> str:
    """The "no" of whoever did not answer as it should."""
    if isinstance(problem, OSError) and problem.errno in OURS:
        raise problem
    return str(problem)


async def answer_of(check: Check) -> Answer:
    """Ask once; never fails, so that whoever asks goes on."""
    try:
        problem = await check()
    except Exception as problem:  # noqa: BLE001 - a probe that ends in silence leaves its last answer standing for ever
        return Answer(None, f"not asked: {type(problem).__name__}: {problem}")
    return Answer(problem is None, problem or "")


async def keep_asking(
    probe: Mapping[str, Any],
    check: Check,
    *,
    eager: bool,
    believed: bool,
    unasked_is_no: bool,
    report: Callable[[bool, str], None],
) -> None:
    """Ask for ever; `report(holds, why)` each time that the belief changes, first from `believed`.

    Eager probes (readiness, startup) hurry until their first yes. A "no" within the initial delay is not counted.
    What could not be asked is no answer, as for the kubelet, or with `unasked_is_no` (readiness) a "no".
    """
    when = timing(probe)
    hurry_s = min(when.period_s, EAGER_EXEC_INTERVAL_S if probe.get("exec") else EAGER_INTERVAL_S)
    begin = time.monotonic()
    streak = 0
    while True:
        answer = await answer_of(check)
        holds = False if answer.holds is None and unasked_is_no else answer.holds
        young = time.monotonic() - begin < when.initial_delay_s
        if holds is None:
            pass
        elif holds == believed or (not holds and young):
            streak = 0
        else:
            streak += 1
            if streak >= (when.successes if holds else when.failures):
                believed, streak = holds, 0
                report(holds, answer.why)
        age_s = time.monotonic() - begin
        if not eager or believed or age_s > EAGER_FOR_S:
            await asyncio.sleep(when.period_s)
        else:
            await asyncio.sleep(FIRST_INTERVAL_S if age_s < FIRST_FOR_S and not probe.get("exec") else hurry_s)

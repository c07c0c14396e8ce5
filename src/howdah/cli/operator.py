"""`howdah operator`: logging, and the controller's main."""

from __future__ import annotations

import asyncio
import os
import re

import structlog

from howdah.cli.exits import Exit, Failed
from howdah.cli.options import Connection
from howdah.controller.log_level import LogLevel
from howdah.controller.main import Options, run
from howdah.kube.credentials import load_access
from howdah.kube.errors import KubeError
from howdah.model.errors import InvalidSpec

MOST_PORTS = 65535


def run_operator(connection: Connection, *, observe_only: bool, listen: str | None) -> None:
    """Run until told to stop."""
    try:
        level = LogLevel(os.environ)
    except InvalidSpec as invalid:
        raise Failed(str(invalid), Exit.INVALID) from invalid
    structlog.configure(
        processors=[
            level,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        cache_logger_on_first_use=True,
    )
    path = str(connection.kubeconfig) if connection.kubeconfig is not None else None
    host, port = listen_address(listen) if listen else ("", None)
    try:
        options = Options(
            access=load_access(path, context=connection.context),
            environment=os.environ,
            observe_only=observe_only,
            log_level=level,
            listen_host=host,
            listen_port=port,
        )
        asyncio.run(run(options))
    except InvalidSpec as invalid:
        raise Failed(f"the operator's configuration is not valid:\n{invalid}", Exit.INVALID) from invalid
    except KubeError as error:
        raise Failed(str(error)) from error
    except OSError as error:
        raise Failed(f"cannot listen: {error}") from error


def listen_address(text: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`, `[IPv6]:PORT` or `:PORT`, which is every address. Raises Failed."""
    host, _, port = text.rpartition(":")
    if not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > MOST_PORTS:
        message = f"--listen {text}: write HOST:PORT, such as 127.0.0.1:8080, [::1]:8080, or :8080 for every address"
        raise Failed(message, Exit.INVALID)
    return host.removeprefix("[").removesuffix("]"), int(port)

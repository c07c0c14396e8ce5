"""`howdah operator`: logging, and the controller's main."""

from __future__ import annotations

import asyncio
import os

import structlog

from howdah.cli.exits import Exit, Failed
from howdah.cli.options import Connection
from howdah.controller.log_level import LogLevel
from howdah.controller.main import Options, run
from howdah.kube.credentials import load_access
from howdah.kube.errors import KubeError
from howdah.model.errors import InvalidSpec


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
    host, _, port = (listen or "").rpartition(":")
    if listen and not port.isdigit():
        raise Failed(f"--listen {listen}: write HOST:PORT, such as 127.0.0.1:8080", Exit.INVALID)
    try:
        options = Options(
            access=load_access(path, context=connection.context),
            environment=os.environ,
            observe_only=observe_only,
            log_level=level,
            listen_host=host or "0.0.0.0",  # noqa: S104 - probes and Prometheus come from outside the pod
            listen_port=int(port) if listen else None,
        )
        asyncio.run(run(options))
    except InvalidSpec as invalid:
        raise Failed(f"the operator's configuration is not valid:\n{invalid}", Exit.INVALID) from invalid
    except KubeError as error:
        raise Failed(str(error)) from error
    except OSError as error:
        raise Failed(f"cannot listen: {error}") from error

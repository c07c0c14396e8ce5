"""What every command that speaks to an API server takes, as kubectl has it."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from howdah.cli.exits import Exit, Failed

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Connection:
    """`--kubeconfig`, `--context`, `--namespace`; None: kubectl's defaults."""

    kubeconfig: Path | None = None
    context: str | None = None
    namespace: str | None = None

    def run(self, work: Callable[..., Awaitable[T]]) -> T:
        """`asyncio.run(work(client, namespace))`; known failures become one line."""
        import asyncio

        from howdah.kube.client import Client
        from howdah.kube.credentials import load_access
        from howdah.kube.errors import CredentialError, KubeError, NotFound
        from howdah.model.errors import ExternalError, InvalidSpec

        async def main() -> T:
            path = str(self.kubeconfig) if self.kubeconfig is not None else None
            access = load_access(path, context=self.context, namespace=self.namespace)
            await access.credentials.proof()  # a person may have to log in, for which no request's time would be enough
            async with Client(access, timeout_s=20.0) as client:
                return await work(client, self.namespace or client.namespace or "default")

        _log_to_stderr()
        try:
            return asyncio.run(main())
        except InvalidSpec as invalid:
            raise Failed(str(invalid), Exit.INVALID) from invalid
        except NotFound as missing:
            raise Failed(str(missing), Exit.NOT_FOUND) from missing
        except CredentialError as error:
            raise Failed(f"{error}{self._hint()}") from error
        except (KubeError, ExternalError) as error:
            raise Failed(str(error)) from error

    def _hint(self) -> str:
        from howdah.local.up import default_directory

        is_named = self.kubeconfig is not None or "KUBECONFIG" in os.environ
        return "" if is_named else local_platforms(default_directory().parent)


def _log_to_stderr() -> None:
    """What the operator's code logs is no part of an answer, which a program may read; a person is told warnings only."""
    import logging

    import structlog

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def local_platforms(directory: Path) -> str:
    """Lines that point at the platforms in this folder, one of which is mostly what was meant; empty where there is none."""
    found = sorted(directory.glob("*/kubeconfig"))
    return "".join(f"\nthere is a local platform: export KUBECONFIG={shlex.quote(str(path))}" for path in found)

"""Log lines of the platform's processes. Their standard output is a file: on a full disk a line is lost, and nothing else."""

import contextlib

import structlog


class _LossyLogger(structlog.PrintLogger):
    def msg(self, message: str) -> None:
        with contextlib.suppress(OSError):
            super().msg(message)

    log = debug = info = warn = warning = msg
    fatal = failure = err = error = critical = exception = msg


def configure() -> None:
    """For the whole process."""
    structlog.configure(logger_factory=lambda *_: _LossyLogger())

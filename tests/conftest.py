"""For all tests: in CI a skip that nobody expects is a failure; a busy machine is none."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from steady import SteadyLoop

EXPECTED = Path(__file__).with_name("expected_skips.txt")

_unexpected: list[str] = []
_umask = os.umask(0o022)
os.umask(_umask)


def pytest_collection_finish() -> None:
    """Some modules of Patroni close files to others when they are imported, for the whole process: import them in another."""
    if (now := os.umask(_umask)) != _umask:
        raise pytest.UsageError(f"the tests' modules have changed the umask from {_umask:#o} to {now:#o}")


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    made_up = item.get_closest_marker("looptime") is not None
    return {"loop": asyncio.new_event_loop if made_up else SteadyLoop}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not any(expected in reason for expected in _expected()):
            _unexpected.append(f"{report.nodeid}: {reason}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in _unexpected:
        terminalreporter.write_line(f"unexpected skip: {line}", red=True)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    is_worker = hasattr(session.config, "workerinput")
    if _unexpected and os.environ.get("CI") and exitstatus == 0 and not is_worker:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _expected() -> tuple[str, ...]:
    lines = EXPECTED.read_text().splitlines()
    return tuple(line for line in lines if line and not line.startswith("#"))

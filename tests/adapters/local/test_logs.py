"""Logs as the shim writes them and as people read them."""

from pathlib import Path

import pytest

from howdah.local.node import logs
from howdah.local.node.logs import LogQuery
from howdah.local.node.shim import Log


def text(folder: Path, **query: object) -> str:
    return b"".join(logs.read(folder, 0, LogQuery(**query))).decode()  # type: ignore[arg-type]


def test_full_log_is_put_aside_and_read_as_one(tmp_path: Path) -> None:
    log = Log(str(tmp_path / "0.log"), limit_bytes=200)
    for number in range(8):
        log.write(b"stdout", b"line %d\n" % number)
    assert (tmp_path / "0.log.1").exists()
    assert (tmp_path / "0.log").stat().st_size < 300
    lines = text(tmp_path).splitlines()
    assert lines == [f"line {number}" for number in range(8 - len(lines), 8)]


def test_a_log_that_somebody_removed_goes_on_in_a_new_file(tmp_path: Path) -> None:
    log = Log(str(tmp_path / "0.log"), limit_bytes=200)
    log.write(b"stdout", b"%s\n" % (b"x" * 200))
    (tmp_path / "0.log").unlink()
    log.write(b"stdout", b"after\n")
    assert text(tmp_path) == "after\n"


def test_a_log_that_cannot_be_put_aside_grows_on_in_its_file(tmp_path: Path) -> None:
    log = Log(str(tmp_path / "0.log"), limit_bytes=200)
    (tmp_path / "0.log.1" / "in-the-way").mkdir(parents=True)
    for number in range(8):
        log.write(b"stdout", b"line %d\n" % number)
    assert (tmp_path / "0.log").read_text().count("line") == 8


def test_lines_without_a_folder_are_lost_and_harm_nobody(tmp_path: Path) -> None:
    log = Log(str(tmp_path / "gone" / "0.log"), limit_bytes=60)
    for _ in range(3):
        log.write(b"stdout", b"lost\n")
    (tmp_path / "gone").mkdir()
    for _ in range(3):
        log.write(b"stdout", b"kept\n")
    assert "kept" in text(tmp_path / "gone")


@pytest.mark.parametrize(
    ("query", "result"),
    [
        ({}, "one\ntwo\nthree"),
        ({"tail": 2}, "two\nthree"),
        ({"tail": 0}, ""),
        ({"limit_bytes": 5}, "one\nt"),
        ({"since": "9999"}, ""),
        ({"since": "2000"}, "one\ntwo\nthree"),
    ],
)
def test_queries(tmp_path: Path, query: dict[str, object], result: str) -> None:
    log = Log(str(tmp_path / "0.log"), limit_bytes=10_000)
    log.write(b"stdout", b"one\ntwo\n")
    log.write(b"stderr", b"three")
    assert text(tmp_path, **query) == result


def test_timestamps_are_shown_when_asked_for(tmp_path: Path) -> None:
    Log(str(tmp_path / "0.log"), limit_bytes=10_000).write(b"stdout", b"one\n")
    stamp, _, rest = text(tmp_path, timestamps=True).partition(" ")
    assert rest == "one\n"
    assert len(stamp) == len("2026-01-01T00:00:00.000000000Z")


def test_last_bytes_are_a_termination_message(tmp_path: Path) -> None:
    log = Log(str(tmp_path / "0.log"), limit_bytes=100_000)
    log.write(b"stderr", b"early\n" * 100 + b"the reason\n")
    found = logs.last_bytes(tmp_path, 0, 50)
    assert found.endswith("early\nthe reason\n")
    assert len(found) <= 50

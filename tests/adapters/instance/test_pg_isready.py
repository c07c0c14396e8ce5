"""The program that stands in for pg_isready: how long it waits, and that it answers as the real one."""

import subprocess
import time
from pathlib import Path

import pytest

from howdah.instance import configure
from steady import HANGS_S

PROGRAM = Path(configure.__file__).parent / "pg_isready.sh"


@pytest.fixture
def ask(tmp_path):
    """(exit code, how often the real one was asked, seconds), where its exit codes are these; the last one stays."""

    def asked(*codes):
        (tmp_path / "codes").write_text("".join(f"{code}\n" for code in codes))
        real = tmp_path / "pg_isready"
        place = f"{tmp_path}/codes"
        real.write_text(
            f'#!/bin/sh\necho "$*" >>{tmp_path}/asked\ncode=$(head -n 1 {place})\n'
            f"[ $(wc -l <{place}) -eq 1 ] || sed -i 1d {place}\nexit $code\n"
        )
        real.chmod(0o755)
        begun = time.monotonic()
        done = subprocess.run(
            [PROGRAM, "-p", "5432", "-h", "/run/a b"],
            env={"HOWDAH_PG_BIN_DIR": str(tmp_path)},
            timeout=HANGS_S,
            check=False,
        )
        took = time.monotonic() - begun
        lines = (tmp_path / "asked").read_text().splitlines()
        assert set(lines) == {"--quiet -p 5432 -h /run/a b"}
        return done.returncode, len(lines), took

    return asked


def test_a_server_that_is_ready_is_asked_once(ask):
    assert ask(0)[:2] == (0, 1)


def test_a_server_that_is_starting_gets_a_moment(ask):
    assert ask(2, 1, 0)[:2] == (0, 3)


@pytest.mark.parametrize("code", [1, 2])
def test_a_server_that_stays_away_is_told_after_less_than_patronis_second(ask, code):
    said, count, took = ask(code)
    assert (said, count) == (code, 18)
    assert took > 0.8


def test_wrong_options_are_told_at_once(ask):
    assert ask(3)[:2] == (3, 1)

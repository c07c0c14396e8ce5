"""Which pg_dumpall dumps a server: the same major's, else the oldest that is newer; never an older one."""

from pathlib import Path

import pytest

from howdah.instance.backup.dump import DumpFailed, pg_dumpall


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """As an image has it that holds clients only: no servers, so that no installation is found."""
    for name in ("15", "17", "9", "latest"):
        program = tmp_path / name / "bin" / "pg_dumpall"
        program.parent.mkdir(parents=True)
        program.touch()
    return tmp_path


@pytest.mark.parametrize(("server", "client"), [(15, "15"), (16, "17"), (17, "17"), (14, "15")])
def test_the_nearest_client_that_is_not_older_dumps(folder: Path, server: int, client: str) -> None:
    assert pg_dumpall(str(folder), server, path="") == folder / client / "bin" / "pg_dumpall"


def test_an_older_client_is_refused(folder: Path) -> None:
    with pytest.raises(DumpFailed, match="no pg_dumpall of PostgreSQL 99 or newer"):
        pg_dumpall(str(folder), 99, path="")

"""Which folders `up` and `down` take for a platform's: neither may touch what is somebody else's."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from howdah.local import configuration, removal, supervisor, up
from howdah.local.configuration import Platform
from howdah.local.node import fencing, processes
from howdah.local.place import PlatformError, check_for_up
from howdah.local.platform import make_folders
from lifetimes import ended_with_us

AUTHORITY = "pki/ca.crt"
NOBODY = 65534


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def make(folder: Path, *, made_as: Path | None = None, authority: str = "ours") -> Path:
    """A platform's folder with data, as it is while nothing of it runs."""
    for name in ("volumes/default/data-0/base", "node/addresses.json", "log/platform.log", "store.sqlite", AUTHORITY):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    (folder / AUTHORITY).write_text(authority)
    configuration.save(Platform(folder, {}))
    if made_as is not None:
        path = folder / configuration.FILE
        path.write_text(json.dumps(json.loads(path.read_text()) | {"directory": str(made_as)}))
    return folder


@pytest.fixture
def bystander() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that works in a pod of somebody's."""
    with subprocess.Popen(ended_with_us(sys.executable, "-S", "-c", "import time; time.sleep(1e6)")) as found:
        yield found
        found.kill()


def record(folder: Path, process: "subprocess.Popen[bytes]", works_in: Path) -> None:
    """What a node writes down of a container in `folder` whose pod works in `works_in`."""
    who = processes.identity(process.pid)
    assert who is not None
    identity = {"pid": who.pid, "started": who.started, "boot": who.boot}
    run = {"container": "u/main", "way": "scan", "init": identity, "launcher": identity, "folders": [str(works_in)]}
    path = folder / "node" / "pods" / "u" / "containers" / "main" / "run.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"run": run, "attempt": 0, "started": 0.0}))


@contextmanager
def marked(folder: Path, name: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A process of a platform that was brought up in `folder`."""
    mark = {supervisor.MARK: supervisor.mark(folder, name)}
    command = ended_with_us(sys.executable, "-S", "-c", "print('up', flush=True); import time; time.sleep(1e6)")
    with subprocess.Popen(command, env={**os.environ, **mark}, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"up\n"
            yield process
        finally:
            process.kill()


@pytest.fixture
def linked(tmp_path: Path) -> tuple[Path, Path]:
    """A platform whose parent folder went to another disk, with a link in its place: where it is, and as it was made."""
    folder = make(tmp_path / "disk" / "p", made_as=tmp_path / "state" / "p")
    (tmp_path / "state").symlink_to(tmp_path / "disk")
    return folder, tmp_path / "state" / "p"


def ends(process: "subprocess.Popen[bytes]") -> bool:
    try:
        process.wait(0.3)
    except subprocess.TimeoutExpired:
        return False
    return True


@pytest.mark.parametrize("remove", [True, False])
async def test_a_folder_without_a_platform_is_left_alone(tmp_path: Path, remove: bool) -> None:
    (tmp_path / "projects" / "log").mkdir(parents=True)
    (tmp_path / "projects" / "db.yaml").write_text("mine")
    (tmp_path / "projects" / "log" / "a.log").write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(PlatformError, match="holds no platform"):
        await up.down(tmp_path / "projects", remove=remove)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("remove", [True, False])
async def test_on_the_word_of_a_copy_nothing_ends_and_nothing_goes(
    tmp_path: Path, remove: bool, bystander: "subprocess.Popen[bytes]"
) -> None:
    original = make(tmp_path / "original")
    copy = make(tmp_path / "copy", made_as=original)
    record(copy, bystander, original / "node" / "pods" / "u")
    before = contents(tmp_path)
    with pytest.raises(PlatformError, match=rf"made as {original}: this is a copy, or it was moved"):
        await up.down(copy, remove=remove)
    assert contents(tmp_path) == before
    assert not ends(bystander)


async def test_a_record_from_elsewhere_ends_nobody(tmp_path: Path, bystander: "subprocess.Popen[bytes]") -> None:
    folder = make(tmp_path / "p")
    record(folder, bystander, tmp_path / "another" / "node" / "pods" / "u")
    await up.down(folder)
    assert not ends(bystander)


async def test_a_record_of_ours_ends_its_processes(tmp_path: Path, bystander: "subprocess.Popen[bytes]") -> None:
    folder = make(tmp_path / "p")
    record(folder, bystander, folder / "node" / "pods" / "u")
    await up.down(folder)
    assert ends(bystander)
    assert not folder.exists()


async def test_a_configuration_that_cannot_be_read_removes_nothing(tmp_path: Path) -> None:
    folder = make(tmp_path / "p")
    for torn in ("", "{", "[]", '{"directory": "/"}'):
        (folder / configuration.FILE).write_text(torn)
        before = contents(folder)
        with pytest.raises(PlatformError, match="cannot be read"):
            await up.down(folder)
        assert contents(folder) == before


async def test_removal_leaves_what_is_not_the_platforms_and_says_so(tmp_path: Path) -> None:
    folder = make(tmp_path / "p")
    (folder / "db.yaml").write_text("mine")
    (folder / "notes").mkdir()
    said: list[str] = []
    await up.down(folder, on_progress=said.append)
    assert sorted(path.name for path in folder.iterdir()) == ["db.yaml", "notes"]
    assert said[-1] == f"all of the platform is removed; not its own, and left in {folder}: db.yaml, notes"


async def test_a_link_is_not_followed(tmp_path: Path) -> None:
    folder, disk = make(tmp_path / "p"), tmp_path / "disk"
    (folder / "volumes").rename(disk)
    (folder / "volumes").symlink_to(disk)
    before = contents(disk)
    await up.down(folder)
    assert contents(disk) == before
    assert [path.name for path in folder.iterdir()] == ["volumes"]


async def test_a_linked_folder_is_removed_where_it_lies(tmp_path: Path) -> None:
    make(tmp_path / "disk")
    (tmp_path / "p").symlink_to(tmp_path / "disk")
    await up.down(tmp_path / "p")
    assert not (tmp_path / "disk").exists()


async def test_sockets_of_others_are_not_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everybody may make the folder of all sockets first, as a link that leads to something of ours."""
    monkeypatch.setattr(configuration, "runtime_root", lambda: tmp_path / "root")
    folder = make(tmp_path / "p")
    target = tmp_path / "target" / Platform(folder, {}).identity
    target.mkdir(parents=True)
    (tmp_path / "root").symlink_to(tmp_path / "target")
    await up.down(folder)
    assert target.exists()


async def test_a_platform_is_not_made_among_files_that_it_would_take_for_its_own(tmp_path: Path) -> None:
    (tmp_path / "p" / "log").mkdir(parents=True)
    (tmp_path / "p" / "db.yaml").write_text("mine")
    with pytest.raises(PlatformError, match="holds no platform, but log, which"):
        await up.up(Platform(tmp_path / "p", {}))
    assert sorted(path.name for path in (tmp_path / "p").iterdir()) == ["db.yaml", "log"]


async def test_a_copy_is_not_brought_up_beside_its_original(tmp_path: Path) -> None:
    original = make(tmp_path / "original")
    copy = make(tmp_path / "copy", made_as=original)
    with pytest.raises(PlatformError, match=rf"is a copy of the platform in {original}"):
        await up.up(Platform(copy, {}))
    assert configuration.made_as(copy) == original


async def test_what_was_moved_while_it_ran_is_not_brought_up(tmp_path: Path) -> None:
    moved = make(tmp_path / "moved", made_as=tmp_path / "before")
    with (
        marked(tmp_path / "before", "supervisor"),
        pytest.raises(PlatformError, match=r"was moved from .*/before while it ran"),
    ):
        await up.up(Platform(moved, {}))


async def test_what_was_moved_while_its_pods_ran_is_not_brought_up(
    tmp_path: Path, bystander: "subprocess.Popen[bytes]"
) -> None:
    moved = make(tmp_path / "moved", made_as=tmp_path / "before")
    record(moved, bystander, tmp_path / "before" / "node" / "pods" / "u")
    with pytest.raises(PlatformError, match=r"was moved from .*/before while it ran"):
        await up.up(Platform(moved, {}))
    assert not ends(bystander)


@contextmanager
def without_rights_of_root() -> Iterator[None]:
    """Root may remove anything; this process is `nobody` within, and an ordinary user stays who they are."""
    before = os.geteuid()
    os.seteuid(before or NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)


def test_what_could_not_be_removed_is_said_and_the_removal_may_be_tried_again(folder: Path) -> None:
    place = make(folder / "p")
    locked = place / "volumes" / "default" / "data-0"
    for path in (place, *place.rglob("*")):
        os.chown(path, *((NOBODY, NOBODY) if os.geteuid() == 0 else (-1, -1)))
    locked.chmod(0o555)
    with without_rights_of_root():
        (said,), stays = removal.remove(place)
        assert said.startswith(f"{place / 'volumes'}: Permission denied (")
        assert stays == []
        assert configuration.made_as(place) == place
        locked.chmod(0o755)
        assert removal.remove(place) == ([], [])
    assert not place.exists()


def test_a_platform_that_its_former_name_leads_to_is_no_copy(linked: tuple[Path, Path]) -> None:
    folder, made_as = linked
    check_for_up(folder)
    with marked(made_as, "services"), pytest.raises(PlatformError, match=rf"down --dir {folder}\)"):
        check_for_up(folder)
    assert configuration.made_as(folder) == made_as


@pytest.mark.parametrize("remove", [True, False])
async def test_down_ends_what_was_started_under_the_name_of_a_link(
    linked: tuple[Path, Path], bystander: "subprocess.Popen[bytes]", remove: bool
) -> None:
    folder, made_as = linked
    record(folder, bystander, made_as / "node" / "pods" / "u")
    with marked(made_as, "supervisor") as process:
        assert up.status(folder).processes[0].pid == process.pid
        await up.down(made_as, remove=remove)
        assert ends(process)
    assert ends(bystander)
    assert folder.exists() != remove


def test_a_platform_that_was_moved_comes_up_beside_another_in_its_old_folder(tmp_path: Path) -> None:
    another = make(tmp_path / "before", authority="another's")
    moved = make(tmp_path / "moved", made_as=another)
    with marked(another, "supervisor"):
        check_for_up(moved)


async def test_down_ends_what_the_configuration_does_not_name(tmp_path: Path) -> None:
    folder = make(tmp_path / "p")
    with (
        marked(folder, "operator-1") as ours,
        marked(tmp_path / "p:x", "operator-1") as another,
        marked(tmp_path / "p:x" / "p", "operator-1") as third,
    ):
        assert supervisor.names(folder) == {"operator-1"}
        await up.down(folder)
        assert ends(ours)
        assert not ends(another)
        assert not ends(third)


async def test_what_a_failed_up_left_is_removed(tmp_path: Path) -> None:
    """`up` fails before it has written its configuration."""
    place = tmp_path / "p"
    (place / f".{configuration.FILE}.new" / "x").mkdir(parents=True)
    with pytest.raises(OSError, match=configuration.FILE):
        await up.up(Platform(place, {}))
    (place / f".{configuration.FILE}.new" / "x").rmdir()
    (place / f".{configuration.FILE}.new").rmdir()
    assert [path.name for path in place.iterdir()] == [removal.LOCK]
    await up.down(place)
    assert not place.exists()


async def test_a_second_removal_ends_well_where_something_stayed(tmp_path: Path) -> None:
    folder = make(tmp_path / "p")
    (folder / "db.yaml").write_text("mine")
    said: list[str] = []
    for _ in range(2):
        await up.down(folder, on_progress=said.append)
    assert [path.name for path in folder.iterdir()] == ["db.yaml"]
    assert said[-1] == f"{folder} holds no platform, and nothing of one"


async def test_an_empty_folder_of_somebody_stays(tmp_path: Path) -> None:
    await up.down(tmp_path)
    assert list(tmp_path.iterdir()) == []


async def test_data_without_a_configuration_that_nothing_confirms_stays(tmp_path: Path) -> None:
    folder = make(tmp_path / "p")
    (folder / configuration.FILE).unlink()
    before = contents(folder)
    with pytest.raises(PlatformError, match=r"If a platform left .*store\.sqlite there, remove that by hand"):
        await up.down(folder)
    with pytest.raises(PlatformError, match="holds no platform, but"):
        await up.up(Platform(folder, {}))
    assert contents(folder) == before


@pytest.mark.parametrize("remove", [True, False])
async def test_what_runs_without_its_configuration_is_ended(tmp_path: Path, remove: bool) -> None:
    folder = make(tmp_path / "p")
    (folder / configuration.FILE).unlink()
    with marked(folder, "platform") as process:
        check_for_up(folder)
        await up.down(folder, remove=remove)
        assert ends(process)
    await up.down(folder)
    assert not folder.exists()


async def test_records_of_a_folder_confirm_data_without_a_configuration(
    tmp_path: Path, bystander: "subprocess.Popen[bytes]"
) -> None:
    folder = make(tmp_path / "p")
    (folder / configuration.FILE).unlink()
    record(folder, bystander, folder / "node" / "pods" / "u")
    await up.down(folder)
    assert ends(bystander)
    assert not folder.exists()


def mode(folder: Path) -> int:
    return stat.S_IMODE(folder.stat().st_mode)


@pytest.mark.parametrize(
    ("shared", "before", "after"),
    [(False, 0o775, 0o775), (False, 0o750, 0o750), (True, 0o750, 0o751), (True, 0o775, 0o775)],
)
def test_a_folder_that_was_there_before_keeps_its_mode(tmp_path: Path, shared: bool, before: int, after: int) -> None:
    tmp_path.chmod(before)
    make_folders(tmp_path, shared)
    assert mode(tmp_path) == after
    assert {mode(tmp_path / name) for name in ("node", "node/pods", "volumes")} == {0o711 if shared else 0o700}


@pytest.mark.parametrize("shared", [False, True])
def test_a_folder_whose_mode_may_not_be_changed_ends_nothing(folder: Path, shared: bool) -> None:
    place, disk = folder / "p", folder / "disk" if os.geteuid() == 0 else Path("/usr")
    place.mkdir()
    place.chmod(0o777)
    disk.mkdir(exist_ok=True)
    (place / "volumes").symlink_to(disk)
    before = mode(disk)
    with without_rights_of_root():
        make_folders(place, shared)
    assert (mode(disk), mode(place)) == (before, 0o777)


def test_a_folder_of_somebody_else_that_containers_cannot_pass_through_is_refused(folder: Path) -> None:
    """The platform opens only its own: without this, no container would start, and none would say why."""
    place = folder / "p" if os.geteuid() == 0 else Path("/root")
    if os.geteuid() == 0:
        place.mkdir(mode=0o700)
        os.chown(place, NOBODY, NOBODY)
    with pytest.raises(PlatformError, match=f"cannot pass through {place};"):
        up._for_user(Platform(place, {}), fencing.User("nobody", NOBODY, NOBODY, (NOBODY,)), lambda _: None)

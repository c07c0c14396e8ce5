"""A file is what it was or what it should be, also where the disk is full."""

import os
import resource
import signal
import stat
from contextlib import contextmanager

import pytest

from howdah.local.files import write_whole
from howdah.local.node import records
from howdah.local.node.addresses import Addresses
from howdah.local.node.records import PodRecord


@contextmanager
def full_disk():
    """Writes of this process fail as on a full disk (with EFBIG)."""
    before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))
        signal.signal(signal.SIGXFSZ, handler)


def test_it_is_private_and_whole(tmp_path):
    path = tmp_path / "file"
    assert write_whole(path, b"text")
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"text", 0o600)
    assert [found.name for found in tmp_path.iterdir()] == ["file"]


def test_what_is_already_there_is_not_written(tmp_path):
    path = tmp_path / "file"
    write_whole(path, b"text")
    before = path.stat().st_ino
    assert not write_whole(path, b"text")
    assert path.stat().st_ino == before


@pytest.mark.parametrize("difference", ["content", "mode", "kind"])
def test_any_difference_is_one(tmp_path, difference):
    path = tmp_path / "file"
    write_whole(path, b"text" if difference != "content" else b"tex.")
    if difference == "mode":
        path.chmod(0o644)
    if difference == "kind":
        path.rename(tmp_path / "other")
        path.symlink_to(tmp_path / "other")
    assert write_whole(path, b"text")
    assert (path.read_bytes(), stat.S_IMODE(path.lstat().st_mode)) == (b"text", 0o600)


def test_a_full_disk_leaves_the_former_content_and_no_draft(tmp_path):
    path = tmp_path / "file"
    write_whole(path, b"old")
    with full_disk(), pytest.raises(OSError, match="File too large"):
        write_whole(path, b"new and longer")
    assert path.read_bytes() == b"old"
    assert [found.name for found in tmp_path.iterdir()] == ["file"]


def test_a_draft_that_a_crash_left_is_no_hindrance(tmp_path):
    (tmp_path / ".file.new").symlink_to("/etc/passwd")
    assert write_whole(tmp_path / "file", b"text", owner=(os.geteuid(), os.getegid()))
    assert (tmp_path / "file").read_bytes() == b"text"


@pytest.mark.parametrize("sync", [True, False])
def test_only_what_outlives_a_power_cut_waits_for_the_disk(tmp_path, monkeypatch, sync):
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    assert write_whole(tmp_path / "file", b"text", sync=sync)
    assert len(synced) == sync
    assert (tmp_path / "file").read_bytes() == b"text"


def test_what_a_reboot_makes_worthless_does_not_wait_for_the_disk(tmp_path, monkeypatch):
    def fsync(descriptor):
        raise AssertionError(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    records.write(tmp_path, PodRecord("ns", "a-0", "/run/x", ("data",)))
    assert records.read(tmp_path) == PodRecord("ns", "a-0", "/run/x", ("data",))
    book = tmp_path / "addresses.json"
    address = Addresses(book, "n").take("ns/a-0")
    assert Addresses(book, "n").take("ns/a-0") == address

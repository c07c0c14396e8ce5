"""Where platforms of one user have their sockets: each in a folder of its own below one that they share."""

import stat

import pytest

from howdah.local import configuration
from howdah.local.configuration import Platform, make_runtime


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(configuration, "runtime_root", lambda: tmp_path / "root")
    return tmp_path / "root"


def mode(folder):
    return stat.S_IMODE(folder.stat().st_mode)


def test_other_users_pass_through_only_where_that_is_asked_for(root, tmp_path):
    own = make_runtime(Platform(tmp_path / "own", {}), shared=False)
    assert (mode(root), mode(own)) == (0o700, 0o700)
    shared = make_runtime(Platform(tmp_path / "shared", {}), shared=True)
    assert (mode(root), mode(shared), mode(own)) == (0o711, 0o711, 0o700)


def test_a_second_platform_does_not_shut_out_the_pods_of_the_first(root, tmp_path):
    first = make_runtime(Platform(tmp_path / "first", {}), shared=True)
    second = make_runtime(Platform(tmp_path / "second", {}), shared=False)
    assert (mode(root), mode(first), mode(second)) == (0o711, 0o711, 0o700)


def test_a_folder_that_others_can_write_is_refused(root, tmp_path):
    root.mkdir()
    root.chmod(0o777)
    with pytest.raises(PermissionError, match="nobody else can write"):
        make_runtime(Platform(tmp_path / "own", {}), shared=False)

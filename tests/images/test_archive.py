"""images/archive.py compares two images by what a container would notice, whatever program made their layers."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from images.container import PATIENCE_S, ROOT, Json

CONFIGURATION = {"User": "1000:1000", "Env": ["PATH=/bin"], "Entrypoint": ["howdah"], "Cmd": None}


@dataclass(frozen=True, slots=True)
class File:
    content: bytes = b""
    mode: int = 0o644
    owner: int = 0
    kind: bytes = tarfile.REGTYPE
    target: str = ""
    date: int = 0


Layer = Mapping[str, File]


@dataclass(frozen=True, slots=True)
class Made:
    """An image as a docker archive."""

    layers: Sequence[Layer]
    configuration: Json = field(default_factory=lambda: CONFIGURATION)

    def write(self, path: Path) -> Path:
        names = [f"{number}.tar" for number in range(len(self.layers))]
        manifest = [{"Config": "c.json", "RepoTags": ["localhost/image:1"], "Layers": names}]
        documents = {"c.json": {"config": self.configuration}, "manifest.json": manifest}
        files = {name: File(json.dumps(document).encode()) for name, document in documents.items()}
        files |= {name: File(packed(layer)) for name, layer in zip(names, self.layers, strict=True)}
        path.write_bytes(packed(files))
        return path


def packed(files: Layer) -> bytes:
    into = io.BytesIO()
    with tarfile.open(fileobj=into, mode="w") as archive:
        for name, file in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.uid, entry.mtime = len(file.content), file.mode, file.owner, file.date
            entry.type, entry.linkname = file.kind, file.target
            archive.addfile(entry, io.BytesIO(file.content))
    return into.getvalue()


def compared(folder: Path, one: Made, other: Made) -> tuple[int, list[str]]:
    files = [one.write(folder / "one.tar"), other.write(folder / "other.tar")]
    done = subprocess.run(
        [sys.executable, ROOT / "images" / "archive.py", "compare", *files],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, [line.partition(": ")[0] for line in done.stdout.splitlines()]


BASE: Layer = {
    "etc": File(mode=0o755, kind=tarfile.DIRTYPE),
    "etc/old": File(b"old"),
    "etc/name": File(b"name"),
    "etc/link": File(kind=tarfile.SYMTYPE, target="name"),
}


def test_two_images_are_the_same_however_their_layers_came_to_be(tmp_path: Path) -> None:
    removed: Layer = {"etc/.wh.old": File(), "etc/name": File(b"new", date=5)}
    flat = {"./" + name: file for name, file in BASE.items() if name != "etc/old"}
    one = Made([BASE, removed], {**CONFIGURATION, "WorkingDir": "", "Labels": {"io.buildah.version": "1"}})
    other = Made([{**flat, "./etc/name": File(b"new", date=7)}], {**CONFIGURATION, "WorkingDir": "/", "Volumes": None})
    assert compared(tmp_path, one, other) == (0, [])


def test_a_place_that_is_mounted_over_in_every_container_does_not_count(tmp_path: Path) -> None:
    hosts = Made([BASE, {"etc/hosts": File(mode=0o755)}])
    assert compared(tmp_path, Made([BASE]), hosts) == (0, [])
    assert compared(tmp_path, Made([BASE]), Made([BASE, {"etc/hosts": File(b"127.0.0.1 x")}])) == (1, ["/etc/hosts"])


def test_a_folder_that_was_removed_takes_its_files_along(tmp_path: Path) -> None:
    for removed in (".wh.etc", "etc/.wh..wh..opq"):
        left = compared(tmp_path, Made([BASE, {removed: File()}]), Made([{}]))[1]
        assert left == ([] if removed == ".wh.etc" else ["/etc"])


def test_a_hard_link_is_the_file_that_it_names(tmp_path: Path) -> None:
    linked: Layer = {**BASE, "etc/second": File(kind=tarfile.LNKTYPE, target="etc/name")}
    assert compared(tmp_path, Made([linked]), Made([{**BASE, "etc/second": File(b"name")}])) == (0, [])


@pytest.mark.parametrize(
    ("path", "file"),
    [
        ("etc/name", File(b"other")),
        ("etc/name", File(b"name", mode=0o4644)),
        ("etc/name", File(b"name", owner=1000)),
        ("etc/name", File(kind=tarfile.SYMTYPE, target="old")),
        ("etc/link", File(kind=tarfile.SYMTYPE, target="/elsewhere")),
        ("etc/more", File()),
    ],
)
def test_what_is_not_the_same_of_a_file_is_told(path: str, file: File, tmp_path: Path) -> None:
    assert compared(tmp_path, Made([BASE]), Made([BASE, {path: file}])) == (1, ["/" + path])


@pytest.mark.parametrize(
    "change",
    [
        {"User": "0:0"},
        {"Env": ["PATH=/sbin"]},
        {"Entrypoint": ["sh"]},
        {"Cmd": ["x"]},
        {"StopSignal": "SIGINT"},
        {"WorkingDir": "/tmp"},
    ],
)
def test_what_is_not_the_same_of_a_configuration_is_told(change: Json, tmp_path: Path) -> None:
    assert compared(tmp_path, Made([BASE]), Made([BASE], {**CONFIGURATION, **change})) == (1, [*change])
    labelled = {**CONFIGURATION, "Labels": {"dev.howdah.postgresql": "15"}}
    assert compared(tmp_path, Made([BASE]), Made([BASE], labelled)) == (1, ["label dev.howdah.postgresql"])

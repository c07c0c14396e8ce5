"""Looks into a docker archive: its configuration, sizes, and the files as the layers leave them.

usage: archive.py size ARCHIVE                 uncompressed
       archive.py compressed-size ARCHIVE
       archive.py read ARCHIVE PATH > FILE
       archive.py unpack ARCHIVE FOLDER      (as root, so that owners are kept)
"""

from __future__ import annotations

import gzip
import json
import shutil
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"
MEGABYTE = 1_000_000


class Archive:
    """The one image of a docker archive. Use it as a context."""

    def __init__(self, path: Path) -> None:
        """Nothing is unpacked."""
        self._tar = tarfile.open(path)  # noqa: SIM115  # closed by close()
        (manifest,) = json.loads(self._file("manifest.json").read())
        self.names: list[str] = manifest["RepoTags"]
        self.configuration: dict[str, Any] = json.loads(self._file(manifest["Config"]).read())["config"]
        self._layers: list[str] = manifest["Layers"]

    def close(self) -> None:
        """No more reading."""
        self._tar.close()

    def _member(self, name: str) -> tarfile.TarInfo:
        member = self._tar.getmember(name)
        while member.issym():  # docker writes a layer that is there twice once
            member = self._tar.getmember(member.linkname.removeprefix("../"))
        return member

    def _file(self, name: str) -> IO[bytes]:
        file = self._tar.extractfile(self._member(name))
        assert file is not None, name
        return file

    @contextmanager
    def _layer(self, name: str) -> Iterator[tarfile.TarFile]:
        with self._file(name) as file, tarfile.open(fileobj=file) as layer:
            # From 3.14 on the default refuses links to absolute paths.
            layer.extraction_filter = lambda member, _: member
            yield layer

    def read(self, path: str) -> bytes:
        """A file of the uppermost layer that has it. Raises KeyError."""
        for name in reversed(self._layers):
            with self._layer(name) as layer:
                for member in layer:
                    file = layer.extractfile(member) if member.name.removeprefix("./") == path else None
                    if file is not None:
                        return file.read()
        raise KeyError(path)

    def uncompressed(self) -> int:
        """Bytes of all layers, as on a node's disk."""
        return sum(self._member(name).size for name in self._layers)

    def compressed(self) -> int:
        """Bytes of all layers by gzip, as over the network. Takes its time."""
        return sum(len(gzip.compress(self._file(name).read(), 6)) for name in self._layers)

    def unpack(self, root: Path) -> None:
        """The file system as a container would see it."""
        for name in self._layers:
            with self._layer(name) as layer:
                for member in layer:
                    place = root / member.name
                    if place.name == OPAQUE:
                        _empty(place.parent)
                    elif place.name.startswith(WHITEOUT):
                        _remove(place.with_name(place.name.removeprefix(WHITEOUT)))
                    else:
                        if not (member.isdir() and place.is_dir()):
                            _remove(place)
                        layer.extract(member, root)


def _empty(folder: Path) -> None:
    for child in folder.iterdir() if folder.is_dir() else ():
        _remove(child)


def _remove(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


def main(verb: str, archive: str, *rest: str) -> None:
    """One verb."""
    image = Archive(Path(archive))
    if verb == "size":
        sys.stdout.write(f"{image.uncompressed() / MEGABYTE:.0f} MB\n")
    elif verb == "compressed-size":
        sys.stdout.write(f"{image.compressed() / MEGABYTE:.0f} MB\n")
    elif verb == "read":
        sys.stdout.buffer.write(image.read(rest[0]))
    elif verb == "unpack":
        image.unpack(Path(rest[0]))
    image.close()


if __name__ == "__main__":
    main(*sys.argv[1:])

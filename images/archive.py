"""Looks into docker archives: configuration, sizes, the files as the layers leave them, and how two images differ.

usage: archive.py size ARCHIVE                 uncompressed
       archive.py compressed-size ARCHIVE
       archive.py read ARCHIVE PATH > FILE
       archive.py unpack ARCHIVE FOLDER      (as root, so that owners are kept)
       archive.py compare ARCHIVE ARCHIVE    what a container would notice; ends with 1 where there is something
"""

from __future__ import annotations

import gzip
import hashlib
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
# Of a configuration: what a container is started by. Programs that build write the rest each in its own way.
STARTED_BY = ("User", "Env", "Entrypoint", "Cmd", "ExposedPorts", "Volumes", "StopSignal")
BUILDERS_LABEL = "io.buildah."
# Empty where a program mounted something while it built, and mounted over again in every container.
MOUNTED_OVER = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/run/.containerenv")

Entry = tuple[str, str, int, int, str]  # kind, octal mode, owner, group, and the target of a link or the hash of a file


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

    def tree(self) -> dict[str, Entry]:
        """Every path that a container would see, without dates: a file that was only copied is the same file."""
        seen: dict[str, Entry] = {}
        for name in self._layers:
            with self._layer(name) as layer:
                for member in layer:
                    path = "/" + member.name.removeprefix("./").strip("/")
                    folder, _, last = path.rpartition("/")
                    if last == OPAQUE:
                        _forget(seen, folder)
                    elif last.startswith(WHITEOUT):
                        gone = f"{folder}/{last.removeprefix(WHITEOUT)}"
                        seen.pop(gone, None)
                        _forget(seen, gone)
                    else:
                        if path in seen and not member.isdir():
                            _forget(seen, path)
                        seen[path] = _entry(layer, member)
        nothing = hashlib.sha256().hexdigest()
        left = {path for path in MOUNTED_OVER if path in seen and seen[path][-1] == nothing}
        left.add("/")  # not every program writes it
        return {path: entry for path, entry in seen.items() if path not in left}

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


def _entry(layer: tarfile.TarFile, member: tarfile.TarInfo) -> Entry:
    # A hard link is the file that it names.
    file = layer.extractfile(member) if member.isfile() or member.islnk() else None
    content = member.linkname if file is None else hashlib.sha256(file.read()).hexdigest()
    kind = (
        "file" if file is not None else {tarfile.DIRTYPE: "folder", tarfile.SYMTYPE: "link"}.get(member.type, "other")
    )
    return kind, f"{member.mode & 0o7777:o}", member.uid, member.gid, content


def _forget(seen: dict[str, Entry], folder: str) -> None:
    for path in [path for path in seen if path.startswith(f"{folder}/")]:
        del seen[path]


def differences(one: Archive, other: Archive) -> Iterator[str]:
    """Lines: what of the configurations, labels and files is not the same. Dates do not count."""
    for left, right in ((_started_by(one), _started_by(other)), (one.tree(), other.tree())):
        for name in sorted({*left, *right}):
            if left.get(name) != right.get(name):
                yield f"{name}: {left.get(name)} | {right.get(name)}"


def _started_by(image: Archive) -> dict[str, Any]:
    configuration = image.configuration
    labels = configuration.get("Labels") or {}
    return {
        **{name: configuration.get(name) or None for name in STARTED_BY},
        "WorkingDir": configuration.get("WorkingDir") or "/",
        **{f"label {name}": value for name, value in labels.items() if not name.startswith(BUILDERS_LABEL)},
    }


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
    elif verb == "compare":
        lines = list(differences(image, Archive(Path(rest[0]))))
        sys.stdout.writelines(f"{line}\n" for line in lines)
        sys.exit(1 if lines else 0)
    image.close()


if __name__ == "__main__":
    main(*sys.argv[1:])

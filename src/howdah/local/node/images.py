"""Which role an image plays here: `ghcr.io/zalando/spilo-18:4.1-p2` is a `spilo`."""

import os
import re
import shutil
from collections.abc import Iterable, Mapping

_SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")
_VERSION = re.compile(r"-\d+(\.\d+)*$")


def role(image: str) -> str:
    """The repository's last word without its version, tag and digest."""
    word = image.partition("@")[0].rpartition("/")[2].partition(":")[0]
    return _VERSION.sub("", word)


def unknown_image(image: str, roles: Iterable[str]) -> str:
    """What a person is told about an image that cannot be run here."""
    known = ", ".join(sorted(roles)) or "none"
    return (
        f'image "{image}" has the role "{role(image)}", which the local platform cannot run; '
        f"roles it knows: {known} (the last word of the image's repository, without version)"
    )


def as_in_images(search_path: str) -> str:
    """PATH with the folders that it has in every image, and for root; an ordinary user's may lack them."""
    folders = search_path.split(os.pathsep)
    return os.pathsep.join([*folders, *(folder for folder in _SYSTEM_FOLDERS if folder not in folders)])


def missing_program(image: str, needs: Mapping[str, tuple[str, str]], search_path: str) -> str | None:
    """What a person is told about an image whose program this machine lacks; None where nothing is missing."""
    program, hint = needs.get(role(image), ("", ""))
    if not program or shutil.which(program, path=search_path) is not None:
        return None
    return f'image "{image}" needs {program}, which is not on this machine: {hint}'

"""Which role an image plays here: `ghcr.io/zalando/spilo-18:4.1-p2` is a `spilo`."""

import re
from collections.abc import Iterable

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

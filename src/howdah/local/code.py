"""Which code this is: processes of another one are started anew by the next `up`, be it a release or an edit."""

import hashlib
from pathlib import Path

import howdah


def fingerprint() -> str:
    """Short, and another one for any change in any module of the package. Takes some 20 ms."""
    package = Path(howdah.__file__).parent
    found = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        content = path.read_bytes()
        found.update(f"{path.relative_to(package)} {len(content)}\n".encode() + content)
    return found.hexdigest()[:16]

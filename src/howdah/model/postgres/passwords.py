"""Password verifiers: made and checked without the server, so that a clear password never travels.

SCRAM-SHA-256 as in RFC 5802 and 7677, stored as PostgreSQL stores it; MD5 only to recognise what is there and for
clusters that ask for it. Salts are arguments: chance lives in the adapter.
"""

import base64
import binascii
import hashlib
import hmac
import re
import stringprep
import unicodedata
from typing import Literal

Method = Literal["scram-sha-256", "md5"]

ITERATIONS = 4096
SALT_BYTES = 16

_SCRAM = re.compile(r"SCRAM-SHA-256\$(\d+):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+):([A-Za-z0-9+/=]+)")
_MD5 = re.compile(r"md5[0-9a-f]{32}")


def is_verifier(text: str) -> bool:
    """Whether PostgreSQL would take `text` as a verifier instead of a clear password."""
    return bool(_MD5.fullmatch(text) or _SCRAM.fullmatch(text))


def new_verifier(password: str, role: str, salt: bytes, method: Method = "scram-sha-256") -> str:
    """What to store for `password`; one that already is a verifier stays as it is, as with the server."""
    if is_verifier(password):
        return password
    if method == "md5":
        return md5_verifier(password, role)
    return scram_verifier(password, salt)


def matches(verifier: str, password: str, role: str) -> bool:
    """Whether `password` is the one that `verifier` was made of, whatever its method."""
    if is_verifier(password):
        return hmac.compare_digest(verifier, password)
    if _MD5.fullmatch(verifier):
        return hmac.compare_digest(verifier, md5_verifier(password, role))
    parts = _SCRAM.fullmatch(verifier)
    if parts is None:
        return False
    try:
        salt = base64.b64decode(parts[2], validate=True)
    except binascii.Error:
        return False
    return hmac.compare_digest(verifier, scram_verifier(password, salt, iterations=int(parts[1])))


def md5_verifier(password: str, role: str) -> str:
    """`md5` and the digest of password and role name."""
    return "md5" + hashlib.md5((password + role).encode(), usedforsecurity=False).hexdigest()


def scram_verifier(password: str, salt: bytes, *, iterations: int = ITERATIONS) -> str:
    """`SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`; takes some milliseconds of CPU."""
    salted = hashlib.pbkdf2_hmac("sha256", prepared(password).encode(), salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    stored_key = hashlib.sha256(client_key).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    return f"SCRAM-SHA-256${iterations}:{_base64(salt)}${_base64(stored_key)}:{_base64(server_key)}"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def prepared(password: str) -> str:
    """`password` after SASLprep (RFC 4013); one that SASLprep refuses is used as it is, as PostgreSQL does."""
    if password.isascii():
        return password
    mapped = "".join(
        " " if stringprep.in_table_c12(char) else char for char in password if not stringprep.in_table_b1(char)
    )
    normal = unicodedata.normalize("NFKC", mapped)
    if not normal or any(_is_forbidden(char) for char in normal) or not _is_one_direction(normal):
        return password
    return normal


_FORBIDDEN = (
    stringprep.in_table_a1,  # unassigned in Unicode 3.2
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def _is_forbidden(char: str) -> bool:
    return any(table(char) for table in _FORBIDDEN)


def _is_one_direction(text: str) -> bool:
    """RFC 3454 section 6: right-to-left text begins and ends so, and holds no left-to-right character."""
    if not any(stringprep.in_table_d1(char) for char in text):
        return True
    return (
        stringprep.in_table_d1(text[0])
        and stringprep.in_table_d1(text[-1])
        and not any(stringprep.in_table_d2(char) for char in text)
    )

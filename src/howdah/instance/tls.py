"""The server's certificate: the one that was given, or a self-signed one made for this start.

A self-signed certificate encrypts, it proves nothing about who answers. Its key never leaves the run folder.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Mapping
from pathlib import Path

VALIDITY = dt.timedelta(days=3650)
NOT_BEFORE = dt.timedelta(days=1)  # clocks of clients differ


def write_private(path: Path, content: bytes) -> None:
    """Replace a file at once; nobody else may read it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.new")
    temporary.unlink(missing_ok=True)
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123
        file.write(content)
    temporary.replace(path)


def write_given(texts: Mapping[str, str]) -> None:
    """Certificates and keys that came as text."""
    for path, text in texts.items():
        write_private(Path(path), text.encode())


def write_self_signed(certificate: Path, key: Path, *, name: str, now: dt.datetime) -> None:
    """A new key and a certificate for the member `name`."""
    from cryptography import x509  # costs 50 ms, and only a server with TLS needs it
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    private = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, name[:64])])
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - NOT_BEFORE)
        .not_valid_after(now + VALIDITY)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(private, hashes.SHA256())
    )
    write_private(
        key,
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )
    write_private(certificate, signed.public_bytes(serialization.Encoding.PEM))

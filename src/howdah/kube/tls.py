"""The TLS context of a connection to an API server, from PEM that stands in a kubeconfig or in files."""

from __future__ import annotations

import errno
import os
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from .errors import CredentialError


@dataclass(frozen=True, slots=True)
class Tls:
    """What a TLS context is made of; data wins over files, as in kubectl."""

    ca: bytes = b""
    ca_file: Path | None = None
    insecure: bool = False
    certificate: bytes = field(default=b"", repr=False)
    certificate_file: Path | None = None
    key: bytes = field(default=b"", repr=False)
    key_file: Path | None = None

    @property
    def from_files(self) -> bool:
        return bool(self.ca_file or self.certificate_file or self.key_file)

    def contents(self) -> tuple[bytes, bytes, bytes]:
        """CA, certificate and key as they are now."""
        return (
            self.ca or read_bytes(self.ca_file, "the server's CA"),
            self.certificate or read_bytes(self.certificate_file, "the client certificate"),
            self.key or read_bytes(self.key_file, "the client key"),
        )


class KeptContext:
    """The context of the newest contents, kept while they are the same: connections are pooled by it."""

    def __init__(self) -> None:
        self._seen: tuple[bytes, ...] = ()
        self._context: ssl.SSLContext | None = None

    def of(self, tls: Tls) -> ssl.SSLContext:
        """Raises CredentialError."""
        seen = tls.contents()
        if self._context is None or seen != self._seen:
            self._context, self._seen = _context(*seen, insecure=tls.insecure), seen
        return self._context


def _context(ca: bytes, certificate: bytes, key: bytes, *, insecure: bool) -> ssl.SSLContext:
    try:
        # People write names of authorities between the certificates, and the ssl module takes text in ASCII only.
        context = ssl.create_default_context(cadata=ca.decode("ascii", errors="backslashreplace") if ca else None)
        if certificate:
            _load_chain(context, certificate, key)
    except (ssl.SSLError, ValueError) as error:
        raise CredentialError(f"CA, client certificate or key is not usable PEM ({type(error).__name__})") from None
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _load_chain(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Without a key it stands beside the certificate. Raises SSLError."""
    with _readable(certificate) as certificate_path, _readable(key or certificate) as key_path:
        try:
            context.load_cert_chain(certificate_path, key_path)
        except OSError as error:
            # Of any failure the ssl module tells what `errno` was left at, and a pipe's first reading leaves this.
            if error.errno == errno.ESPIPE:
                raise ssl.SSLError("unusable") from None
            raise


@contextmanager
def _readable(content: bytes) -> Iterator[str]:
    """A path from which this can be read once, as the ssl module takes files only: a key comes near no disk, nor needs room."""
    ours, theirs = os.pipe()

    def feed() -> None:
        # Whoever has read enough closes its end.
        with suppress(BrokenPipeError), os.fdopen(theirs, "wb") as pipe:
            pipe.write(content)

    feeding = threading.Thread(target=feed, daemon=True)
    feeding.start()
    try:
        yield f"/dev/fd/{ours}"
    finally:
        os.close(ours)
        feeding.join()


def read_bytes(path: Path | None, what: str) -> bytes:
    """Nothing for no path. Raises CredentialError."""
    if path is None:
        return b""
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:  # of a path with a NUL in it
        raise CredentialError(f"{what} cannot be read from {path}: {getattr(error, 'strerror', error)}") from None


def read_word(path: Path, what: str) -> str:
    """A token or a name: one word of printable ASCII. Raises CredentialError."""
    return word(read_bytes(path, what), f"{what} in {path}")


def word(content: bytes, what: str) -> str:
    """What may stand in a header. Raises CredentialError."""
    found = content.strip()
    if not all(0x21 <= byte <= 0x7E for byte in found):
        raise CredentialError(f"{what} is not one word of ASCII")
    return found.decode("ascii")

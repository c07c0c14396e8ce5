"""What a server needs for TLS: programs that can, a certificate, and who may come with it or without."""

import subprocess
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from adapters.postgres.servers import Server
from steady import HANGS_S


def settings(own: Path) -> dict[str, str]:
    """Of a server that speaks TLS with this certificate."""
    return {"ssl": "on", "ssl_cert_file": str(own), "ssl_key_file": str(own.with_suffix(".key"))}


def admit(server: Server, kind: str, method: str = "md5") -> None:
    """Only such connections come in over the network from now on: `hostssl`, `hostnossl`, or `host` for both."""
    rules = f"local all all trust\n{kind} all all 127.0.0.1/32 {method}\n"
    (server.folder / "data" / "pg_hba.conf").write_text(rules)
    began = server.sql("SELECT pg_conf_load_time() FROM pg_reload_conf()")
    deadline = time.monotonic() + HANGS_S
    while server.sql("SELECT pg_conf_load_time()") == began:
        assert time.monotonic() < deadline, server.log()
        time.sleep(0.02)


def certificate(folder: Path, name: str) -> Path:
    """A certificate that vouches for itself, for a server called `name`; its key beside it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(
            subject, subject, key.public_key(), x509.random_serial_number(), now, now + timedelta(1)
        )
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.crt"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.with_suffix(".key").write_bytes(key.private_bytes(serialization.Encoding.PEM, *form))
    path.with_suffix(".key").chmod(0o600)
    return path


def with_tls(majors: Mapping[int, Path]) -> list[int]:
    """Those whose programs can. Without any the test is skipped, which CI takes for a failure."""
    able = [major for major, programs in majors.items() if can_tls(programs)]
    if not able:
        pytest.skip("no PostgreSQL of this machine is built with OpenSSL")
    return able


def can_tls(programs: Path) -> bool:
    """Whether PostgreSQL in this folder was built with OpenSSL."""
    shown = subprocess.run([programs / "pg_config", "--configure"], capture_output=True, text=True, check=False)
    return "openssl" in shown.stdout

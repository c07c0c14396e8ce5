"""The authority of one server directory, its certificates and the administrator's kubeconfig; made once, then kept."""

from __future__ import annotations

import base64
import ipaddress
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

from howdah.local.files import write_whole

MAKE_TIMEOUT_S = 60.0
DAYS = 3650
NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
ADMIN_GROUP = "system:masters"


@dataclass(frozen=True, slots=True)
class Pki:
    """Where the files of the authority are."""

    directory: Path

    def certificate(self, name: str) -> Path:
        return self.directory / f"{name}.crt"

    def key(self, name: str) -> Path:
        return self.directory / f"{name}.key"


def ensure_pki(directory: Path, address: str) -> Pki:
    """The authority, the server's certificate for `address` and the local names, the admin's certificate."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    pki = Pki(directory)
    if not pki.certificate("admin").exists():
        # In a process of its own: the library would stay in the server's memory (12 MB) for one use.
        command = [sys.executable, "-m", __name__, str(directory), address]
        subprocess.run(command, check=True, timeout=MAKE_TIMEOUT_S)
    return pki


def _make(pki: Pki, address: str) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    now = datetime.now(UTC)

    def subject(name: str, group: str = "") -> x509.Name:
        parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group)] if group else []
        return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, name)])

    def started(name: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder(issuer, name, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=DAYS))
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        return builder.add_extension(identifier, critical=False)

    def save(name: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_whole(pki.key(name), private)
        write_whole(pki.certificate(name), certificate.public_bytes(serialization.Encoding.PEM))

    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = subject("howdah-local-ca")
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    ca = (
        started(ca_name, ca_name, ca_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    save("ca", ca_key, ca)
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())

    def leaf(
        name: str, owner: x509.Name, purpose: x509.ObjectIdentifier, names: x509.SubjectAlternativeName | None
    ) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            started(owner, ca_name, key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(authority, critical=False)
        )
        if names is not None:
            builder = builder.add_extension(names, critical=False)
        save(name, key, builder.sign(ca_key, hashes.SHA256()))

    addresses = dict.fromkeys(("127.0.0.1", address))
    names = x509.SubjectAlternativeName(
        [*(x509.DNSName(name) for name in NAMES), *(x509.IPAddress(ipaddress.ip_address(a)) for a in addresses)]
    )
    leaf("server", subject("kube-apiserver"), ExtendedKeyUsageOID.SERVER_AUTH, names)
    leaf("admin", subject("admin", ADMIN_GROUP), ExtendedKeyUsageOID.CLIENT_AUTH, None)


def kubeconfig(pki: Pki, url: str) -> bytes:
    """A kubeconfig for the administrator, everything embedded."""

    def data(path: Path) -> str:
        return base64.b64encode(path.read_bytes()).decode()

    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "howdah",
        "contexts": [{"name": "howdah", "context": {"cluster": "howdah", "user": "admin", "namespace": "default"}}],
        "clusters": [
            {
                "name": "howdah",
                "cluster": {"server": url, "certificate-authority-data": data(pki.certificate("ca"))},
            }
        ],
        "users": [
            {
                "name": "admin",
                "user": {
                    "client-certificate-data": data(pki.certificate("admin")),
                    "client-key-data": data(pki.key("admin")),
                },
            }
        ],
    }
    return yaml.safe_dump(config, sort_keys=False).encode()


if __name__ == "__main__":
    _make(Pki(Path(sys.argv[1])), sys.argv[2])

"""Who we are to which API server: from a pod's service account or a kubeconfig, kept fresh while we run.

Sources: tokens (literal, file, exec plugin), client certificates (data, file, exec plugin), server CA. Not here: proxies,
user name and password, the removed auth-provider plugins.
Format: https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import errno
import json
import os
import ssl
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import yaml

from .errors import CredentialError

SERVICE_ACCOUNT_DIR = Path("/var/run/secrets/kubernetes.io/serviceaccount")
FILE_AGE_S = 60.0
"""Token and certificate files are read again after this long: kubelet rotates them in place."""
PLUGIN_TIMEOUT_S = 30.0
PLUGIN_EARLY_S = 60.0
"""A plugin's credential is renewed this long before it expires."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What one request shows: a bearer token, a TLS context (with the client certificate, if any), both or neither."""

    token: str = field(default="", repr=False)
    tls: ssl.SSLContext | None = None


class Credentials(Protocol):
    """A source of proofs. Safe to share between threads and event loops."""

    async def proof(self) -> Proof:
        """The proof that is valid now; raises CredentialError."""

    def reject(self) -> None:
        """The server answered 401: nothing cached is to be used again."""


@dataclass(frozen=True, slots=True)
class Access:
    """One API server as one user: what a Client needs."""

    server: str
    """URL without a slash at its end."""
    namespace: str
    """Where commands work if nothing else is said."""
    credentials: Credentials = field(repr=False)
    server_name: str | None = None
    """The name to expect in the server's certificate, where it is not the URL's."""


def load_access(kubeconfig: str | None = None, *, context: str | None = None, namespace: str | None = None) -> Access:
    """As kubectl finds it: the given file, `$KUBECONFIG`, `~/.kube/config`, else the pod's service account."""
    named = kubeconfig or os.environ.get("KUBECONFIG")
    paths = [Path(part).expanduser() for part in (named or "~/.kube/config").split(os.pathsep) if part]
    if named or context or any(path.is_file() for path in paths):
        return kubeconfig_access(paths, context=context, namespace=namespace)
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        access = in_cluster_access()
        return replace(access, namespace=namespace) if namespace else access
    raise CredentialError(
        "no Kubernetes cluster is named: neither --kubeconfig, $KUBECONFIG nor ~/.kube/config exists, "
        "and this is not a pod; pass --kubeconfig FILE"
    )


def in_cluster_access(directory: Path = SERVICE_ACCOUNT_DIR, environ: Mapping[str, str] = os.environ) -> Access:
    """The API server and service account of the pod that we run in."""
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise CredentialError("KUBERNETES_SERVICE_HOST is not set: this is not a pod; pass --kubeconfig FILE")
    namespace = _text(directory / "namespace", "the service account's namespace")
    return Access(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        namespace=namespace,
        credentials=FileCredentials(_Tls(ca_file=directory / "ca.crt"), token_file=directory / "token"),
    )


def kubeconfig_access(paths: Iterable[Path], *, context: str | None = None, namespace: str | None = None) -> Access:
    """The access that a kubeconfig's (current or given) context describes; several files are merged, the first wins."""
    config = _Merged.of(paths)
    name = context or config.current
    if not name:
        raise CredentialError(f"{config.where}: no current-context; pass --context, one of {config.names()}")
    chosen = config.entry("contexts", name)
    cluster = config.entry("clusters", chosen.get("cluster", ""))
    user = config.entry("users", chosen["user"]) if chosen.get("user") else {}
    server = str(cluster.get("server") or "").rstrip("/")
    if not server.startswith(("https://", "http://")):
        raise CredentialError(f"{config.where}: cluster of context {name!r} has server {server!r}, not a URL")
    return Access(
        server=server,
        namespace=namespace or chosen.get("namespace") or "default",
        credentials=_credentials(user, _tls(cluster, user), cluster),
        server_name=cluster.get("tls-server-name"),
    )


def _credentials(user: dict[str, Any], tls: _Tls, cluster: dict[str, Any]) -> Credentials:
    if user.get("exec"):
        return PluginCredentials(tls, plugin=user["exec"], cluster=cluster)
    token_file = Path(user["tokenFile"]) if user.get("tokenFile") else None
    return FileCredentials(tls, token=str(user.get("token") or ""), token_file=token_file)


def _tls(cluster: dict[str, Any], user: dict[str, Any]) -> _Tls:
    return _Tls(
        ca=_data(cluster, "certificate-authority-data"),
        ca_file=_path(cluster, "certificate-authority"),
        insecure=bool(cluster.get("insecure-skip-tls-verify")),
        certificate=_data(user, "client-certificate-data"),
        certificate_file=_path(user, "client-certificate"),
        key=_data(user, "client-key-data"),
        key_file=_path(user, "client-key"),
    )


class FileCredentials:
    """A token and certificate that stand in the kubeconfig or in files; files are read again each minute."""

    def __init__(self, tls: _Tls, *, token: str = "", token_file: Path | None = None) -> None:
        self._tls, self._token, self._token_file = tls, token, token_file
        self._lock = threading.Lock()
        self._cached: Proof | None = None
        self._read_at = 0.0
        self._seen: tuple[bytes, ...] = ()

    async def proof(self) -> Proof:
        with self._lock:  # held for reads of small files only
            now = time.monotonic()
            fixed = self._token_file is None and not self._tls.from_files
            if self._cached and (fixed or now - self._read_at < FILE_AGE_S):
                return self._cached
            self._cached, self._read_at = self._read(self._cached), now
            return self._cached

    def _read(self, before: Proof | None) -> Proof:
        token = _text(self._token_file, "the token") if self._token_file else self._token
        seen = self._tls.contents()
        # A context is kept while the files are the same: connections are pooled by it.
        tls = before.tls if before and seen == self._seen else self._tls.context()
        self._seen = seen
        return Proof(token, tls)

    def reject(self) -> None:
        with self._lock:
            self._read_at = -FILE_AGE_S


class PluginCredentials:
    """A credential printed by a program (`aws eks get-token` and the like), kept until it expires."""

    def __init__(self, tls: _Tls, *, plugin: dict[str, Any], cluster: dict[str, Any]) -> None:
        self._tls, self._plugin, self._cluster = tls, plugin, cluster
        self._lock = threading.Lock()
        self._cached: tuple[Proof, float] | None = None

    async def proof(self) -> Proof:
        cached = self._cached
        if cached and time.time() < cached[1]:
            return cached[0]
        return await asyncio.to_thread(self._fresh)

    def _fresh(self) -> Proof:
        with self._lock:  # one run of the program serves every waiting call
            if not (self._cached and time.time() < self._cached[1]):
                self._cached = self._run()
            return self._cached[0]

    def reject(self) -> None:
        self._cached = None

    def _run(self) -> tuple[Proof, float]:
        command = str(self._plugin.get("command") or "")
        status = _plugin_status(command, _plugin_output(self._plugin, self._cluster, command))
        tls = self._tls
        if status.get("clientCertificateData"):
            tls = replace(
                tls,
                certificate=str(status["clientCertificateData"]).encode(),
                key=str(status.get("clientKeyData") or "").encode(),
                certificate_file=None,
                key_file=None,
            )
        expires = _timestamp(status.get("expirationTimestamp"))
        return Proof(str(status.get("token") or ""), tls.context()), expires - PLUGIN_EARLY_S


def _plugin_output(plugin: dict[str, Any], cluster: dict[str, Any], command: str) -> bytes:
    info: dict[str, Any] = {
        "apiVersion": plugin.get("apiVersion", "client.authentication.k8s.io/v1"),
        "kind": "ExecCredential",
        "spec": {"interactive": False},
    }
    if plugin.get("provideClusterInfo"):
        info["spec"]["cluster"] = {
            key: cluster[key] for key in ("server", "certificate-authority-data") if key in cluster
        }
    environ = {**os.environ, **{item["name"]: item["value"] for item in plugin.get("env") or ()}}
    argv = [command, *(str(argument) for argument in plugin.get("args") or ())]
    try:
        ended = subprocess.run(  # noqa: S603 - the user's own kubeconfig names the program
            argv,
            env={**environ, "KUBERNETES_EXEC_INFO": json.dumps(info)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PLUGIN_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        hint = plugin.get("installHint") or "check users[].user.exec of the kubeconfig"
        kind = "took too long" if isinstance(error, subprocess.TimeoutExpired) else "cannot be started"
        raise CredentialError(f"credential plugin {command!r} {kind}; {hint}") from None
    if ended.returncode:
        raise CredentialError(f"credential plugin {command!r} ended with exit code {ended.returncode}")
    return ended.stdout


def _plugin_status(command: str, output: bytes) -> dict[str, Any]:
    try:
        status = json.loads(output)["status"]
        if status.get("token") or status.get("clientCertificateData"):
            return dict(status)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    raise CredentialError(
        f"credential plugin {command!r} did not print an ExecCredential with token or certificate"
    ) from None


def _timestamp(text: str | None) -> float:
    if not text:
        return float("inf")  # as client-go: until the server answers 401
    return datetime.fromisoformat(text).timestamp()


@dataclass(frozen=True, slots=True)
class _Tls:
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
            self.ca or _bytes(self.ca_file, "the server's CA"),
            self.certificate or _bytes(self.certificate_file, "the client certificate"),
            self.key or _bytes(self.key_file, "the client key"),
        )

    def context(self) -> ssl.SSLContext:
        ca, certificate, key = self.contents()
        try:
            context = ssl.create_default_context(cadata=ca.decode("ascii") if ca else None)
            if certificate:
                _load_chain(context, certificate, key)
        except (ssl.SSLError, UnicodeDecodeError, ValueError) as error:
            raise CredentialError(f"CA, client certificate or key is not usable PEM ({type(error).__name__})") from None
        if self.insecure:
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


class _Merged:
    """Several kubeconfig files as one; of entries with the same name the first counts."""

    def __init__(self, where: str, current: str, entries: dict[tuple[str, str], dict[str, Any]]) -> None:
        self.where, self.current, self._entries = where, current, entries

    @classmethod
    def of(cls, paths: Iterable[Path]) -> _Merged:
        current, read = "", list[str]()
        entries: dict[tuple[str, str], dict[str, Any]] = {}
        for path in paths:
            if not path.is_file():
                continue
            read.append(str(path))
            document = _document(path)
            current = current or str(document.get("current-context") or "")
            for section, inner in (("contexts", "context"), ("clusters", "cluster"), ("users", "user")):
                for item in document.get(section) or ():
                    key = (section, str(item["name"]))
                    entries.setdefault(key, _absolute(item.get(inner) or {}, path.parent))
        if not read:
            raise CredentialError(
                f"kubeconfig {os.pathsep.join(map(str, paths))} does not exist; pass --kubeconfig FILE"
            )
        return cls(os.pathsep.join(read), current, entries)

    def entry(self, section: str, name: str) -> dict[str, Any]:
        found = self._entries.get((section, name))
        if found is None:
            raise CredentialError(f"{self.where}: {section} has no {name!r}; it has {self.names(section)}")
        return found

    def names(self, section: str = "contexts") -> str:
        return ", ".join(name for kind, name in self._entries if kind == section) or "none"


_FILE_FIELDS = ("certificate-authority", "client-certificate", "client-key", "tokenFile")


def _absolute(entry: dict[str, Any], base: Path) -> dict[str, Any]:
    """Relative file names count from the kubeconfig that holds them."""
    named: dict[str, Any] = {key: str(base / entry[key]) for key in _FILE_FIELDS if entry.get(key)}
    if "/" in (command := str((entry.get("exec") or {}).get("command") or "")):
        named["exec"] = {**entry["exec"], "command": str(base / command)}
    return {**entry, **named}


def _document(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(_bytes(path, "the kubeconfig"))
    except yaml.YAMLError:
        raise CredentialError(f"{path}: not YAML") from None  # the parser's text would quote the file
    if not isinstance(document, dict):
        raise CredentialError(f"{path}: not a kubeconfig, it holds no mapping")
    return document


def _bytes(path: Path | None, what: str) -> bytes:
    if path is None:
        return b""
    try:
        return path.read_bytes()
    except OSError as error:
        raise CredentialError(f"{what} cannot be read from {path}: {error.strerror}") from None


def _text(path: Path, what: str) -> str:
    return _bytes(path, what).decode().strip()


def _path(entry: dict[str, Any], key: str) -> Path | None:
    return Path(entry[key]) if entry.get(key) else None


def _data(entry: dict[str, Any], key: str) -> bytes:
    try:
        return base64.b64decode(entry.get(key) or "", validate=True)
    except (binascii.Error, ValueError):
        raise CredentialError(f"kubeconfig: {key} is not base64") from None

"""Who we are to which API server: from a pod's service account or a kubeconfig, kept fresh while we run.

Sources: tokens (literal, file, program), client certificates (data, file, program), server CA; `kubeconfig.py` reads the file,
`plugin.py` runs the program. Not here: proxies that the environment names (`HTTPS_PROXY`).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from .access import Access, Credentials, Proof
from .errors import CredentialError
from .kubeconfig import Found, read_kubeconfig
from .plugin import PluginCredentials
from .tls import KeptContext, Tls, read_word

__all__ = [
    "Access",
    "Credentials",
    "FileCredentials",
    "Proof",
    "in_cluster_access",
    "kubeconfig_access",
    "load_access",
]

SERVICE_ACCOUNT_DIR = Path("/var/run/secrets/kubernetes.io/serviceaccount")
FILE_AGE_S = 60.0
"""Token and certificate files are read again after this long: kubelet rotates them in place."""


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
    return Access(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        namespace=read_word(directory / "namespace", "the service account's namespace"),
        credentials=FileCredentials(Tls(ca_file=directory / "ca.crt"), token_file=directory / "token"),
    )


def kubeconfig_access(paths: Iterable[Path], *, context: str | None = None, namespace: str | None = None) -> Access:
    """The access that a kubeconfig's (current or given) context describes; several files are merged, the first wins."""
    found = read_kubeconfig(paths, context)
    return Access(
        server=found.server,
        namespace=namespace or found.namespace or "default",
        credentials=_credentials(found),
        server_name=found.server_name,
        headers=found.headers,
        proxy=found.proxy,
    )


def _credentials(found: Found) -> Credentials:
    if found.program is not None:
        return PluginCredentials(found.tls, found.program)
    return FileCredentials(found.tls, token=found.token, token_file=found.token_file)


class FileCredentials:
    """A token and certificate that stand in the kubeconfig or in files; files are read again each minute."""

    def __init__(self, tls: Tls, *, token: str = "", token_file: Path | None = None) -> None:
        self._tls, self._token, self._token_file = tls, token, token_file
        self._lock = threading.Lock()
        self._context = KeptContext()
        self._cached: Proof | None = None
        self._read_at = 0.0

    async def proof(self) -> Proof:
        with self._lock:  # held for reads of small files only
            now = time.monotonic()
            fixed = self._token_file is None and not self._tls.from_files
            if self._cached and (fixed or now - self._read_at < FILE_AGE_S):
                return self._cached
            self._cached, self._read_at = self._read(), now
            return self._cached

    def _read(self) -> Proof:
        token = read_word(self._token_file, "the token") if self._token_file else self._token
        return Proof(token, self._context.of(self._tls))

    def reject(self) -> None:
        with self._lock:
            self._read_at = -FILE_AGE_S

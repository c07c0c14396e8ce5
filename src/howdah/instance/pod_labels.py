"""The few calls to the Kubernetes API by which scripts of Patroni take the label of their role off pods.

Each promotion waits for such a script, so this loads little: no client library, and no `dataclasses`.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import yaml

TIMEOUT_S = 2.0
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TRIES = 3  # a pod is written by its Patroni and its kubelet all the time


class Api:
    """A connection to a Kubernetes API server, and what lets us in: a token, or a certificate that `tls` holds."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext, token: str) -> None:
        self._connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=tls)
        self._headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """(status, decoded JSON); `body` is a JSON Patch. Raises OSError or http.client.HTTPException: nobody answers."""
        headers = self._headers | ({"Content-Type": "application/json-patch+json"} if body is not None else {})
        self._connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = self._connection.getresponse()
        return answer.status, json.loads(answer.read() or b"{}")


def read(patroni_yaml: str) -> Mapping[str, Any]:
    """Patroni's file."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    document: Mapping[str, Any] = yaml.load(Path(patroni_yaml).read_text(), loader)  # noqa: S506
    return document


def api_of(environ: Mapping[str, str], context: str | None) -> Api:
    """As Patroni reaches it: by KUBECONFIG where a context is configured, else as a pod does."""
    if context is None:
        host, port = environ["KUBERNETES_SERVICE_HOST"], int(environ.get("KUBERNETES_SERVICE_PORT", "443"))
        tls = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
        return Api(host, port, tls, (ACCOUNT / "token").read_text())
    config = read(environ["KUBECONFIG"])
    chosen = _named(config["contexts"], context)["context"]
    cluster = _named(config["clusters"], chosen["cluster"])["cluster"]
    server = urlsplit(cluster["server"])
    user = _named(config["users"], chosen["user"])["user"]
    tls = ssl.create_default_context(cadata=_text(cluster, "certificate-authority"))
    if "client-certificate" in user:
        tls.load_cert_chain(user["client-certificate"], user["client-key"])
    elif "client-certificate-data" in user:
        import tempfile

        with tempfile.NamedTemporaryFile("w") as both:  # Python takes it from a file only
            both.write(_text(user, "client-certificate") + _text(user, "client-key"))
            both.flush()
            tls.load_cert_chain(both.name)
    return Api(server.hostname or "", server.port or 443, tls, user.get("token") or "")


def _text(section: Mapping[str, str], key: str) -> str:
    """What stands in the kubeconfig itself, or in the file that it names."""
    if f"{key}-data" in section:
        return base64.b64decode(section[f"{key}-data"]).decode()
    return Path(section[key]).read_text()


def _named(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(entry for entry in entries if entry["name"] == name)


def pods_path(section: Mapping[str, Any]) -> str:
    """Of the namespace. `section`: Patroni's `kubernetes`, with every key decided."""
    return f"/api/v1/namespaces/{quote(section['namespace'])}/pods"


def unlabel(api: Api, section: Mapping[str, Any], pod: Mapping[str, Any]) -> bool:
    """Whether this took the label of its role off the pod, which has this metadata: not one that it was given since."""
    label = "/metadata/labels/" + section["role_label"].replace("~", "~0").replace("/", "~1")
    patch = [
        {"op": "test", "path": "/metadata/uid", "value": pod["uid"]},
        {"op": "test", "path": label, "value": pod["labels"][section["role_label"]]},
        {"op": "remove", "path": label},
    ]
    status = 0
    for _ in range(TRIES):
        status, _answer = api.ask("PATCH", f"{pods_path(section)}/{quote(pod['name'])}", patch)
        if status != http.client.CONFLICT:
            break
    return status == http.client.OK

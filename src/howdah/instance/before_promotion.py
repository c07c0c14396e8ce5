"""Before this member is promoted: take the leader's label off every other pod, so that no service leads there any more.

Patroni runs this file as a script of its own (so it imports nothing of ours) once it holds the leader lock, and promotes
when it ends. The former leader takes its label off itself, unless its Patroni hangs; then its PostgreSQL may still
accept writes, which would be lost. A failure here is told and keeps nobody from being promoted.

Source: https://patroni.readthedocs.io/en/latest/yaml_configuration.html (postgresql.pre_promote)
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import os
import ssl
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import yaml

TIMEOUT_S = 2.0
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TRIES = 3  # a pod is written by its Patroni and its kubelet all the time


@dataclass(frozen=True, slots=True)
class Api:
    """A Kubernetes API server and what lets us in: a token, or a certificate that `tls` holds."""

    host: str
    port: int
    tls: ssl.SSLContext
    token: str

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """(HTTP status, decoded JSON). Raises OSError or http.client.HTTPException where nobody answers."""
        connection = http.client.HTTPSConnection(self.host, self.port, timeout=TIMEOUT_S, context=self.tls)
        headers = {"Accept": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        if body is not None:
            headers["Content-Type"] = "application/merge-patch+json"
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"{}")
        finally:
            connection.close()


def api_of(environ: Mapping[str, str], context: str | None) -> Api:
    """As Patroni reaches it: by KUBECONFIG where a context is configured, else as a pod does."""
    if context is None:
        host, port = environ["KUBERNETES_SERVICE_HOST"], int(environ.get("KUBERNETES_SERVICE_PORT", "443"))
        tls = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
        return Api(host, port, tls, (ACCOUNT / "token").read_text())
    config = yaml.safe_load(Path(environ["KUBECONFIG"]).read_text())
    chosen = _named(config["contexts"], context)["context"]
    cluster = _named(config["clusters"], chosen["cluster"])["cluster"]
    server = urlsplit(cluster["server"])
    user = _named(config["users"], chosen["user"])["user"]
    tls = ssl.create_default_context(cadata=_decoded(cluster, "certificate-authority-data").decode())
    if "client-certificate-data" in user:
        with tempfile.NamedTemporaryFile() as both:  # Python takes it from a file only
            both.write(_decoded(user, "client-certificate-data") + _decoded(user, "client-key-data"))
            both.flush()
            tls.load_cert_chain(both.name)
    return Api(server.hostname or "", server.port or 443, tls, user.get("token") or "")


def _decoded(section: Mapping[str, str], key: str) -> bytes:
    return base64.b64decode(section[key])


def _named(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(entry for entry in entries if entry["name"] == name)


def unlabel_others(api: Api, name: str, scope: str, section: Mapping[str, Any]) -> list[str]:
    """Names of the pods whose label was taken off. `section`: Patroni's `kubernetes`, with every key decided."""
    role, leads = section["role_label"], section["leader_label_value"]
    labels = {**section["labels"], section["scope_label"]: scope, role: leads}
    selector = quote(",".join(f"{key}={value}" for key, value in sorted(labels.items())))
    pods = f"/api/v1/namespaces/{quote(section['namespace'])}/pods"
    status, found = api.ask("GET", f"{pods}?labelSelector={selector}")
    if status != http.client.OK:
        raise OSError(f"pods cannot be listed: {status} {found.get('message', '')}")
    others = [pod["metadata"] for pod in found["items"] if pod["metadata"]["name"] != name]
    return [other["name"] for other in others if _unlabel(api, f"{pods}/{quote(other['name'])}", other["uid"], role)]


def _unlabel(api: Api, path: str, uid: str, role: str) -> bool:
    patch = {"metadata": {"uid": uid, "labels": {role: None}}}
    status = 0
    for _ in range(TRIES):
        status, _answer = api.ask("PATCH", path, patch)
        if status != http.client.CONFLICT:
            break
    return status == http.client.OK


def main(arguments: list[str]) -> int:
    """Always 0: Patroni would give the lock back, and a cluster without leader helps nobody."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--patroni-yaml", required=True, type=Path)
    given = parser.parse_args(arguments)
    try:
        document = yaml.load(given.patroni_yaml.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
        section = document["kubernetes"]
        api = api_of(os.environ, section.get("context"))
        for pod in unlabel_others(api, document["name"], document["scope"], section):
            print(f"{pod} had the label of the leader, and {document['name']} holds the lock", file=sys.stderr)  # noqa: T201
    except Exception as error:  # noqa: BLE001 - whatever it is, the member is to be promoted
        print(f"other pods keep the label that they have: {type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

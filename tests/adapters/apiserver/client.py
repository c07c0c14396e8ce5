"""A real API server process on loopback, and a small client that says what it hears."""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lifetimes import ended_with_us
from steady import HANGS_S

START_TIMEOUT_S = 30
MERGE, STRATEGIC = "application/merge-patch+json", "application/strategic-merge-patch+json"
APPLY, JSON_PATCH = "application/apply-patch+yaml", "application/json-patch+json"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


@dataclass
class Answer:
    code: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, key: str) -> Any:
        return self.body[key]

    @property
    def version(self) -> str:
        return str(self.body["metadata"]["resourceVersion"])


class Client:
    """One connection as the administrator, or with a token."""

    def __init__(self, kubeconfig: Path, *, token: str = "", anonymous: bool = False) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self.context = ssl.create_default_context(cadata=authority)
        if not token and not anonymous:
            for name, key in (("crt", "client-certificate-data"), ("key", "client-key-data")):
                kubeconfig.with_suffix(f".{name}").write_bytes(base64.b64decode(user[key]))
            self.context.load_cert_chain(kubeconfig.with_suffix(".crt"), kubeconfig.with_suffix(".key"))
        self.token = token
        self.host, port = cluster["server"].removeprefix("https://").split(":")
        self.port = int(port)
        self.connection = self.connect()

    def connect(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(self.host, self.port, context=self.context, timeout=HANGS_S)

    def headers(self, more: dict[str, str]) -> dict[str, str]:
        token = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return {"Content-Type": "application/json", "User-Agent": "test/1", **token, **more}

    def __call__(self, method: str, path: str, body: Any = None, content: str = "", **headers: str) -> Answer:
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        sent = self.headers({"Content-Type": content or "application/json", **headers})
        self.connection.request(method, path, data, sent)
        response = self.connection.getresponse()
        text = response.read()
        try:
            found = json.loads(text)
        except ValueError:
            found = text.decode()
        return Answer(response.status, found, dict(response.getheaders()))

    def get(self, path: str, **headers: str) -> Answer:
        return self("GET", path, **headers)

    def post(self, path: str, body: Any) -> Answer:
        return self("POST", path, body)

    def put(self, path: str, body: Any) -> Answer:
        return self("PUT", path, body)

    def patch(self, path: str, body: Any, content: str = MERGE) -> Answer:
        return self("PATCH", path, body, content)

    def apply(self, path: str, body: Any, manager: str = "m", *, force: bool = False) -> Answer:
        return self("PATCH", f"{path}?fieldManager={manager}&force={str(force).lower()}", body, APPLY)

    def delete(self, path: str, options: Any = None) -> Answer:
        return self("DELETE", path, options)

    def watch(self, path: str, **headers: str) -> Watch:
        return Watch(self, path, headers)


class Watch:
    """The events of a watch, as they come."""

    def __init__(self, client: Client, path: str, headers: dict[str, str]) -> None:
        self.connection = client.connect()
        self.connection.request("GET", path, headers=client.headers(headers))
        self.response = self.connection.getresponse()

    def next(self) -> Any:
        line = self.response.readline()
        return json.loads(line) if line else None

    def events(self, count: int) -> list[tuple[str, str]]:
        """(type, name) of the next events."""
        found = [self.next() for _ in range(count)]
        return [(event["type"], event["object"]["metadata"]["name"]) for event in found]

    def close(self) -> None:
        self.connection.close()


class Server:
    """The process. `stop` and `kill` end it, `start` goes on with the same directory."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.directory = directory
        self.arguments = arguments
        self.process: subprocess.Popen[str] | None = None
        self.ready = ""

    def start(self) -> None:
        program = (sys.executable, "-m", "howdah.local.apiserver")
        command = ended_with_us(*program, "--dir", self.directory, *self.arguments)
        with (self.directory.parent / f"{self.directory.name}.log").open("a") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=_environment())
        assert self.process.stdout is not None
        self.ready = self.process.stdout.readline()

    def end(self, number: int) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(START_TIMEOUT_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process = None
        return code

    def stop(self) -> int:
        return self.end(signal.SIGTERM)

    def kill(self) -> int:
        return self.end(signal.SIGKILL)

    @property
    def kubeconfig(self) -> Path:
        return self.directory / "kubeconfig"

    def client(self, **options: Any) -> Client:
        return Client(self.kubeconfig, **options)


def _environment() -> dict[str, str]:
    root = Path(__file__).resolve().parents[3]
    return {**os.environ, "PYTHONPATH": str(root / "src")}


def config_map(name: str, data: dict[str, str] | None = None, **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}, "data": data or {}}


def pod(name: str, node: str = "", **metadata: Any) -> dict[str, Any]:
    spec: dict[str, Any] = {"containers": [{"name": "main", "image": "i:1"}]}
    if node:
        spec["nodeName"] = node
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **metadata}, "spec": spec}


def eventually(check: Any, timeout_s: float = HANGS_S) -> Any:
    """The first true answer of a check."""
    deadline = time.monotonic() + timeout_s
    while not (found := check()):
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.05)
    return found

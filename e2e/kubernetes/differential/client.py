"""Speaks HTTP to one API server as its kubeconfig says; knows no kind and decides nothing."""

import base64
import contextlib
import http.client
import json
import ssl
import tempfile
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from differential.corpus import Step, filled

TIMEOUT_S = 60
UNTIL_S = 60


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `body` is parsed JSON, a list of events for a watch, else text."""

    code: int
    content_type: str
    warnings: tuple[str, ...]
    body: Any


class Client:
    """A kept connection to one API server."""

    def __init__(self, kubeconfig: Path, *, watch_s: int = 1) -> None:
        """`watch_s`: how long a watch lasts for which the step says nothing."""
        self.kubeconfig = kubeconfig
        self._watch_s = watch_s
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self._host = urllib.parse.urlsplit(cluster["server"]).netloc
        self._tls = ssl.create_default_context(cadata=_pem(cluster, "certificate-authority"))
        self._headers = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
        if "client-certificate-data" in user or "client-certificate" in user:
            with tempfile.TemporaryDirectory() as folder:
                certificate, key = Path(folder, "client-certificate"), Path(folder, "client-key")
                for file in (certificate, key):
                    file.write_text(_pem(user, file.name))
                self._tls.load_cert_chain(certificate, key)
        self._connection: http.client.HTTPSConnection | None = None

    def send(self, step: Step, known: dict[str, str]) -> Answer:
        """The answer to one step; what it saves is added to `known`."""
        deadline = time.monotonic() + UNTIL_S
        while True:
            answer = self._send(step, known)
            if step.until in (None, answer.code) or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        known.update({name: _at(answer.body, path) for name, path in step.save})
        return answer

    def _send(self, step: Step, known: dict[str, str]) -> Answer:
        path, body = filled(step.path, known), filled(step.body, known)
        if step.verb == "WATCH":
            path += ("&" if "?" in path else "?") + "watch=1"
            path += "" if "timeoutSeconds" in path else f"&timeoutSeconds={self._watch_s}"
        data = None if body is None else body if isinstance(body, str) else json.dumps(body)
        headers = {"Accept": step.accept, "User-Agent": step.agent, **self._headers}
        if data is not None:
            headers["Content-Type"] = step.content_type
        response = self._response(step.method, path.replace(" ", "%20"), data, headers)
        raw = response.read().decode(errors="replace")  # some refusals are protobuf
        warnings = tuple(response.headers.get_all("Warning", []))
        return Answer(
            response.status,
            response.headers.get_content_type(),
            warnings,
            _parsed(raw, response.headers.get_content_type(), lines=_is_stream(step, response.status)),
        )

    def _response(self, method: str, path: str, data: str | None, headers: dict[str, str]) -> http.client.HTTPResponse:
        for again in (True, False):  # a kept connection may have been closed by the server
            if self._connection is None:
                self._connection = http.client.HTTPSConnection(self._host, timeout=TIMEOUT_S, context=self._tls)
            try:
                self._connection.request(method, path, data and data.encode(), headers)
                return self._connection.getresponse()
            except (http.client.HTTPException, OSError):
                self._connection.close()
                self._connection = None
                if not again:
                    raise
        raise AssertionError("unreachable")


def _is_stream(step: Step, code: int) -> bool:
    return step.verb == "WATCH" and code == 200


def _parsed(raw: str, content_type: str, *, lines: bool) -> Any:
    if lines:
        return list(_objects(raw))
    try:
        if content_type == "application/yaml":
            return yaml.load(raw, yaml.BaseLoader)  # every scalar as text: times would become objects
        return json.loads(raw)
    except ValueError:
        return raw


def _objects(raw: str) -> Iterator[Any]:
    for line in raw.splitlines():
        with contextlib.suppress(ValueError):
            yield json.loads(line)


def _pem(section: dict[str, str], name: str) -> str:
    if f"{name}-data" in section:
        return base64.b64decode(section[f"{name}-data"]).decode()
    return Path(section[name]).read_text()


def _at(body: Any, path: str) -> str:
    """The value at a dotted path, "" where there is none: the next answers then tell."""
    for part in path.split("."):
        try:
            body = body[int(part)] if isinstance(body, list) else body[part]
        except (KeyError, IndexError, TypeError, ValueError):
            return ""
    return str(body)

"""A throw-away S3 server on loopback: rclone over a folder, which checks signatures."""

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from lifetimes import ended_with_us
from steady import HANGS_S

KEY, SECRET, BUCKET = "access-key", "secret-key-of-the-store", "backups"
CACHED, CACHE_IS_OVER_S = "5ms", 0.02
"""How long the server remembers a folder. With 0 it goes through every folder without a pause, and calls wait for it."""


@dataclass
class S3:
    """A running server; what is in the bucket are files."""

    port: int
    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def objects(self) -> list[str]:
        bucket = self.folder / BUCKET
        return sorted(str(path.relative_to(bucket)) for path in bucket.rglob("*") if path.is_file())

    def read(self, key: str) -> bytes:
        return (self.folder / BUCKET / key).read_bytes()

    def write(self, key: str, content: bytes = b"") -> None:
        path = self.folder / BUCKET / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        time.sleep(CACHE_IS_OVER_S)


@contextlib.contextmanager
def s3() -> Iterator[S3]:
    """Started, and ended with everything in it."""
    with tempfile.TemporaryDirectory(prefix="howdah-s3-") as name:
        folder = Path(name)
        (folder / BUCKET).mkdir()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [Path(sys.executable).parent / "rclone", "serve", "s3", "--addr", f"127.0.0.1:{port}"]
        options = ["--auth-key", f"{KEY},{SECRET}", "--etag-hash", "none", "--dir-cache-time", CACHED, str(folder)]
        process = subprocess.Popen(
            ended_with_us(*command, *options),
            env={"PATH": os.environ["PATH"], "HOME": name, "RCLONE_CONFIG": "/dev/null"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait(port, process)
            yield S3(port, folder, process)
        finally:
            process.kill()
            process.wait()


Answer = tuple[int, Mapping[str, str]]
Says = Callable[[str, str], Answer | None]
"""Of a method and a path: status and headers, or None for what the server itself says."""
Loses = Callable[[str, str], bool]
"""Whether what the server itself said gets lost."""


@contextlib.contextmanager
def behind(store: S3, says: Says = lambda *_: None, loses: Loses = lambda *_: False) -> Iterator[S3]:
    """The same store, where somebody between answers some requests: a policy, or a server that is not well."""

    class Between(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer = says(self.command, self.path)
            if answer is not None:
                self._say(*answer, b"")
                return
            asked = http.client.HTTPConnection("127.0.0.1", store.port, timeout=HANGS_S)
            try:  # Host is signed, and stays as it is
                asked.request(self.command, self.path, body, dict(self.headers))
                response = asked.getresponse()
                content = response.read()
                if loses(self.command, self.path):
                    self.close_connection = True
                else:
                    self._say(response.status, dict(response.getheaders()), content)
            finally:
                asked.close()

        do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815 - names of the base class

        def _say(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                    self.send_header(name, value)
            length = headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(body))
            self.send_header("Content-Length", length)
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Between)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield replace(store, port=server.server_port)
    finally:
        server.shutdown()
        server.server_close()


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + HANGS_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError("the S3 server does not start")

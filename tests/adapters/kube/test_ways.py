"""As whom and by which way the server is asked: impersonation and proxies, for each kind of call."""

import asyncio
import base64
import ipaddress
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from howdah.kube.client import Client
from howdah.kube.credentials import Access, kubeconfig_access
from howdah.kube.errors import CredentialError, Unreachable
from howdah.kube.exec import ExecResult
from howdah.kube.resources import PODS
from howdah.kube.testing import FakeKubernetes
from howdah.kube.transport import CONNECT_S
from howdah.kube.watch import watch_batches

POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "ns"}, "spec": {"containers": []}}


class Listening(FakeKubernetes):
    """A fake that keeps the headers of each request."""

    def __init__(self) -> None:
        super().__init__()
        self.headers: list[Any] = []

    async def _answer(self, http: web.Request) -> web.StreamResponse:
        self.headers.append(http.headers)
        return await super()._answer(http)


@pytest.fixture
async def server() -> AsyncIterator[Listening]:
    async with Listening() as made:
        made.exec_handler = lambda *_: ExecResult(0, b"done", b"")
        yield made


def access(folder: Path, user: dict[str, Any], cluster: dict[str, Any]) -> Access:
    document = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "ns"}}],
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
    }
    (folder / "config").write_text(yaml.safe_dump(document))
    return kubeconfig_access([folder / "config"])


async def every_kind_of_call(client: Client) -> None:
    await client.create(PODS, POD)
    version = (await client.list(PODS)).resource_version
    async with aclosing(watch_batches(client, PODS, version)) as batches:
        await anext(batches)
    assert (await client.exec("a", namespace="ns", container="c", argv=["true"])).stdout == b"done"
    async with client.logs("a", namespace="ns") as chunks:
        async for _ in chunks:
            pass
    await client.delete(PODS, "a", namespace="ns")


async def test_every_kind_of_call_is_made_as_who_is_impersonated(server: Listening, tmp_path: Path) -> None:
    """With the headers of kubectl 1.32; of a service account without any group the server adds those that it has."""
    user = {
        "token": "admin",
        "as": "system:serviceaccount:ns:reader",
        "as-uid": "12",
        "as-groups": ["viewers", ""],
        "as-user-extra": {"a%b": ["three"], "example.org/scope": ["one", "two"]},
    }
    async with Client(access(tmp_path, user, {"server": server.url})) as client:
        await every_kind_of_call(client)
    assert len(server.headers) == 6
    for headers in server.headers:
        said = [(name, value) for name, value in headers.items() if name.startswith("Impersonate")]
        assert said == [
            ("Impersonate-User", "system:serviceaccount:ns:reader"),
            ("Impersonate-Uid", "12"),
            ("Impersonate-Group", "viewers"),
            ("Impersonate-Group", ""),
            ("Impersonate-Extra-a%25b", "three"),
            ("Impersonate-Extra-example.org%2Fscope", "one"),
            ("Impersonate-Extra-example.org%2Fscope", "two"),
        ]
        assert headers["Authorization"] == "Bearer admin"


async def _copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


@asynccontextmanager
async def listening(handle: Any, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


class Proxy:
    """An HTTP proxy: CONNECT, and requests for whole URLs."""

    def __init__(self, password: str = "") -> None:
        self.asked: list[str] = []
        self._expected = f"Basic {base64.b64encode(password.encode()).decode()}" if password else ""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        verb, target, _ = head.decode().split("\r\n")[0].split(" ")
        self.asked.append(f"{verb} {target}")
        if self._expected and f"proxy-authorization: {self._expected}".lower() not in head.decode().lower():
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            writer.close()
            return
        place = target if verb == "CONNECT" else target.split("/")[2]
        host, _, port = place.rpartition(":")
        there, back = await asyncio.open_connection(host, int(port))
        if verb == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            back.write(head)
        await asyncio.gather(_copied(reader, back), _copied(there, writer))


def certified(folder: Path) -> ssl.SSLContext:
    """A server's context; its CA is `ca.pem`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kube")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(certificate.public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(private)
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    made.load_cert_chain(folder / "ca.pem", folder / "key.pem")
    return made


@pytest.mark.parametrize("password", ["", "me:hunter2"])
async def test_every_kind_of_call_goes_by_the_proxy_to_a_server_with_tls(
    server: Listening, tmp_path: Path, password: str
) -> None:
    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
        await asyncio.gather(_copied(reader, back), _copied(there, writer))

    proxy = Proxy(password)
    async with listening(proxy) as port, listening(relay, certified(tmp_path)) as behind:
        way = f"http://{password}{'@' if password else ''}127.0.0.1:{port}"
        cluster = {"server": f"https://127.0.0.1:{behind}", "certificate-authority": "ca.pem", "proxy-url": way}
        async with Client(access(tmp_path, {"token": "t", "as": "reader"}, cluster)) as client:
            assert "hunter2" not in repr(client.access)
            await every_kind_of_call(client)
    assert set(proxy.asked) == {f"CONNECT 127.0.0.1:{behind}"}
    assert {headers["Impersonate-User"] for headers in server.headers} == {"reader"}
    assert len(server.headers) == 6


async def test_every_kind_of_call_goes_by_the_proxy_without_tls_too(server: Listening, tmp_path: Path) -> None:
    proxy = Proxy()
    async with listening(proxy) as port:
        cluster = {"server": server.url, "proxy-url": f"http://127.0.0.1:{port}"}
        async with Client(access(tmp_path, {"token": "t"}, cluster)) as client:
            await every_kind_of_call(client)
    assert proxy.asked
    assert all(server.url in asked for asked in proxy.asked)


async def test_a_proxy_that_refuses_or_is_away_is_named_without_its_password(tmp_path: Path) -> None:
    async with listening(Proxy("me:right")) as port:
        cluster = {"server": "https://127.0.0.1:1", "proxy-url": f"http://me:hunter2@127.0.0.1:{port}"}
        async with Client(access(tmp_path, {"token": "t"}, cluster)) as client:
            await _fails_quietly(client, ("407",))
    async with Client(access(tmp_path, {"token": "t"}, cluster)) as client:
        await _fails_quietly(client, (f"127.0.0.1:{port}", "proxy"))


async def _fails_quietly(client: Client, words: Iterable[str]) -> None:
    with pytest.raises(Unreachable) as caught:
        await client.get_raw("/version")
    assert all(word in str(caught.value) for word in words)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(Unreachable) as caught:
        await client.exec("a", namespace="ns", container="c", argv=["true"])
    assert all(word in str(caught.value) for word in words)
    assert "hunter2" not in str(caught.value)


async def test_what_a_proxy_lets_through_late_is_not_sent(server: Listening, tmp_path: Path) -> None:
    """Whoever permitted it did so before: neither a write nor a command in a pod."""
    asked: list[bytes] = []

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n"))[:7])
        await asyncio.sleep(CONNECT_S + 2)
        there, back = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await writer.start_tls(tls)
        await asyncio.gather(_copied(reader, back), _copied(there, writer))

    tls, permits = certified(tmp_path), list[bool]()
    async with listening(late) as port:
        cluster = {
            "server": "https://127.0.0.1:1",
            "certificate-authority": "ca.pem",
            "proxy-url": f"http://127.0.0.1:{port}",
        }
        async with Client(access(tmp_path, {"token": "t"}, cluster), timeout_s=CONNECT_S + 4) as client:
            writer = client.permitted_by(lambda: permits.append(True))
            sent = (
                writer.create(PODS, POD),
                writer.exec("a", namespace="ns", container="c", argv=["psql", "hunter2"], timeout_s=CONNECT_S + 4),
            )
            said = await asyncio.gather(*sent, return_exceptions=True)
            await asyncio.sleep(3)
    assert [str(one) for one in said] == [
        "create pods ns/a: no connection within 5 s",
        "exec pods ns/a psql: no connection within 5 s",
    ]
    assert (asked, permits, server.headers) == ([b"CONNECT"] * 2, [True] * 2, [])


@pytest.mark.parametrize("way", ["https://127.0.0.1:1", "socks5://127.0.0.1:1", "127.0.0.1:3128", "http://a:b:c"])
def test_a_proxy_that_is_not_supported_is_refused_by_name(tmp_path: Path, way: str) -> None:
    with pytest.raises(CredentialError, match="clusters 'c': proxy-url is not of the form http://HOST:PORT"):
        access(tmp_path, {"token": "t"}, {"server": "https://127.0.0.1:1", "proxy-url": way})

import asyncio
import base64
import os
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from full_disk import full_disk
from howdah.kube.client import Client
from howdah.kube.credentials import Access, in_cluster_access, kubeconfig_access, load_access
from howdah.kube.errors import CredentialError
from howdah.kube.informer import Informer, PartialObject
from howdah.kube.resources import PODS
from howdah.kube.testing import FakeKubernetes
from steady import HANGS_S


def pem_pair(name: str) -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(pem), private


def kubeconfig(path: Path, user: dict[str, Any], cluster: dict[str, Any] | None = None, **context: str) -> Path:
    document = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", **context}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:6443/", **(cluster or {})}}],
        "users": [{"name": "u", "user": user}],
    }
    path.write_text(yaml.safe_dump(document))
    return path


async def token(access: Access) -> str:
    return (await access.credentials.proof()).token


async def test_token_namespace_and_server_are_read(tmp_path: Path) -> None:
    access = kubeconfig_access([kubeconfig(tmp_path / "config", {"token": "s3cr3t"}, namespace="team")])
    assert (access.server, access.namespace) == ("https://127.0.0.1:6443", "team")
    assert await token(access) == "s3cr3t"
    assert kubeconfig_access([tmp_path / "config"], namespace="other").namespace == "other"


async def test_nothing_printed_holds_a_token(tmp_path: Path) -> None:
    access = kubeconfig_access([kubeconfig(tmp_path / "config", {"token": "s3cr3t"})])
    assert "s3cr3t" not in repr(access) + repr(await access.credentials.proof())


async def test_token_file_is_found_beside_the_kubeconfig_and_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("one\n")
    access = kubeconfig_access([kubeconfig(tmp_path / "config", {"tokenFile": "token"})])
    assert await token(access) == "one"
    (tmp_path / "token").write_text("two\n")
    assert await token(access) == "one"  # it is not read at each call
    access.credentials.reject()
    assert await token(access) == "two"


async def test_after_401_the_call_is_sent_again_with_the_new_token(kube: FakeKubernetes, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("old")
    path = kubeconfig(tmp_path / "config", {"tokenFile": "token"}, {"server": kube.url})
    async with Client(kubeconfig_access([path])) as client:
        await client.get_raw("/api/v1/pods")
        (tmp_path / "token").write_text("new")
        kube.fail_next(401, "Unauthorized")
        await client.get_raw("/api/v1/pods")
        assert await token(client.access) == "new"
    assert [request.status for request in kube.requests] == [200, 401, 200]


@pytest.mark.parametrize("as_files", [False, True])
async def test_client_certificate_comes_as_data_or_files(tmp_path: Path, as_files: bool) -> None:
    certificate, key = pem_pair("admin")
    if as_files:
        (tmp_path / "crt").write_bytes(certificate)
        (tmp_path / "key").write_bytes(key)
        user = {"client-certificate": "crt", "client-key": "key"}
        cluster = {"certificate-authority": "crt"}
    else:
        user = {
            "client-certificate-data": base64.b64encode(certificate).decode(),
            "client-key-data": base64.b64encode(key).decode(),
        }
        cluster = {"certificate-authority-data": base64.b64encode(certificate).decode()}
    access = kubeconfig_access([kubeconfig(tmp_path / "config", user, cluster)])
    tls = (await access.credentials.proof()).tls
    assert tls is not None
    assert [ca["serialNumber"] for ca in tls.get_ca_certs()] == ["01"]
    assert tls.verify_mode is ssl.CERT_REQUIRED
    assert (await access.credentials.proof()).tls is tls  # one context, so that connections are shared


async def test_a_client_certificate_needs_no_room_on_a_disk(tmp_path: Path) -> None:
    certificate, key = pem_pair("admin")
    (tmp_path / "crt").write_bytes(certificate)
    (tmp_path / "key").write_bytes(key)
    config = kubeconfig(tmp_path / "config", {"client-certificate": "crt", "client-key": "key"})
    with full_disk():
        proof = await kubeconfig_access([config]).credentials.proof()
    assert proof.tls is not None


async def test_certificate_and_key_may_stand_in_one_file(tmp_path: Path) -> None:
    (tmp_path / "pem").write_bytes(b"".join(pem_pair("admin")))
    config = kubeconfig(tmp_path / "config", {"client-certificate": "pem"})
    assert (await kubeconfig_access([config]).credentials.proof()).tls is not None


@pytest.mark.parametrize("key", [b"hunter2", b"", pem_pair("another")[1], pem_pair("admin")[0]])
async def test_a_key_that_does_not_fit_is_explained_and_not_quoted(tmp_path: Path, key: bytes) -> None:
    (tmp_path / "crt").write_bytes(pem_pair("admin")[0])
    (tmp_path / "key").write_bytes(key)
    config = kubeconfig(tmp_path / "config", {"client-certificate": "crt", "client-key": "key"})
    with pytest.raises(CredentialError, match="client certificate or key is not usable PEM") as caught:
        await kubeconfig_access([config]).credentials.proof()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("certificate", [b"hunter2", b"-----BEGIN CERTIFICATE-----\nhunter2\n"])
async def test_a_certificate_that_is_none_is_explained_and_not_quoted(tmp_path: Path, certificate: bytes) -> None:
    (tmp_path / "crt").write_bytes(certificate)
    (tmp_path / "key").write_bytes(pem_pair("admin")[1])
    config = kubeconfig(tmp_path / "config", {"client-certificate": "crt", "client-key": "key"})
    with pytest.raises(CredentialError, match="client certificate or key is not usable PEM") as caught:
        await kubeconfig_access([config]).credentials.proof()
    assert "hunter2" not in str(caught.value)


async def test_rotated_certificate_files_give_a_new_context(tmp_path: Path) -> None:
    def write() -> None:
        certificate, key = pem_pair("admin")
        (tmp_path / "crt").write_bytes(certificate)
        (tmp_path / "key").write_bytes(key)

    write()
    user = {"client-certificate": "crt", "client-key": "key"}
    access = kubeconfig_access([kubeconfig(tmp_path / "config", user)])
    before = (await access.credentials.proof()).tls
    access.credentials.reject()
    assert (await access.credentials.proof()).tls is before
    write()
    access.credentials.reject()
    assert (await access.credentials.proof()).tls is not before


async def test_verification_is_skipped_only_on_demand(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "config", {}, {"insecure-skip-tls-verify": True})
    tls = (await kubeconfig_access([path]).credentials.proof()).tls
    assert tls is not None
    assert tls.verify_mode is ssl.CERT_NONE


async def test_a_pod_s_service_account_is_used(tmp_path: Path) -> None:
    certificate, _ = pem_pair("ca")
    for name, content in (("token", b"pod-token"), ("namespace", b"team\n"), ("ca.crt", certificate)):
        (tmp_path / name).write_bytes(content)
    environ = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"}
    access = in_cluster_access(tmp_path, environ)
    assert (access.server, access.namespace) == ("https://[fd00::1]:6443", "team")
    assert await token(access) == "pod-token"


@pytest.mark.parametrize(
    ("content", "context", "says"),
    [
        ("a: [", None, "not YAML"),
        ("[]", None, "not a kubeconfig"),
        ("{}", None, "no current-context"),
        ("current-context: x", None, "contexts has no 'x'; it has none"),
        ("current-context: x\ncontexts: [{name: w, context: {}}]", "z", "contexts has no 'z'; it has w"),
        ("contexts: [{name: w, context: {cluster: c}}]\nclusters: [{name: c, cluster: {server: h}}]", "w", "not a URL"),
    ],
)
def test_a_wrong_kubeconfig_is_explained(tmp_path: Path, content: str, context: str | None, says: str) -> None:
    (tmp_path / "config").write_text(content)
    with pytest.raises(CredentialError, match=says):
        kubeconfig_access([tmp_path / "config"], context=context)


async def test_wrong_certificate_data_are_explained_and_not_quoted(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "config", {"client-certificate-data": "%%hunter2"})
    with pytest.raises(CredentialError, match="client-certificate-data is not base64") as caught:
        kubeconfig_access([path])
    assert "hunter2" not in str(caught.value)


USER = "current-context: h\ncontexts: [{name: h, context: {cluster: c, user: u}}]\n" + (
    "clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]\nusers: [{name: u, user: %s}]\n"
)


@pytest.mark.parametrize(
    ("user", "says"),
    [
        ("{username: me, password: hunter2}", "users 'u': username and password are not supported"),
        ("{auth-provider: {name: oidc}}", "users 'u': auth-provider is not supported; use exec"),
        ("{token: t, as-groups: [g]}", "users 'u': as-uid, as-groups and as-user-extra need as"),
        ('{token: t, as: "a\\nb"}', "users 'u': what Impersonate-User is to say is not printable"),
        ('{token: "hunter2 hunter2"}', "users 'u': token is not one word"),
        ("{token: 5}", r"users\[0\].user.token: expected str, got int"),
        (
            "{exec: {command: x, env: [{name: A, value: 1}]}}",
            r"users\[0\].user.exec.env\[0\].value: expected str, got int",
        ),
        (
            "{exec: {command: x, interactiveMode: Sometimes}}",
            "interactiveMode is 'Sometimes'; expected Never, IfAvailable",
        ),
    ],
)
def test_what_cannot_be_heeded_is_refused_by_name(tmp_path: Path, user: str, says: str) -> None:
    (tmp_path / "config").write_text(USER % user)
    with pytest.raises(CredentialError, match=says) as caught:
        kubeconfig_access([tmp_path / "config"])
    assert str(tmp_path / "config") in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("section", ["contexts", "clusters", "users"])
def test_an_entry_without_a_name_is_pointed_at(tmp_path: Path, section: str) -> None:
    (tmp_path / "config").write_text(f"{section}: [{{name: a}}, {{}}]")
    with pytest.raises(CredentialError, match=rf"config: {section}\[1\]: .*required field name"):
        kubeconfig_access([tmp_path / "config"])


def test_verification_is_not_skipped_for_a_word_that_is_no_boolean(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "config", {}, {"insecure-skip-tls-verify": "false"})
    with pytest.raises(CredentialError, match="insecure-skip-tls-verify: expected bool, got str"):
        kubeconfig_access([path])


@pytest.mark.parametrize("content", [b"\xff\xfe", b"one\ntwo"])
async def test_a_token_file_that_holds_no_token_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    access = kubeconfig_access([kubeconfig(tmp_path / "config", {"tokenFile": "token"})])
    with pytest.raises(CredentialError, match=f"the token in {tmp_path}/token is not one word"):
        await access.credentials.proof()


async def test_data_may_be_broken_into_lines_and_a_ca_may_have_comments_in_any_language(tmp_path: Path) -> None:
    certificate, key = pem_pair("admin")
    (tmp_path / "ca").write_bytes("# F\u0151tan\u00fas\u00edtv\u00e1ny\n".encode() + certificate)
    user = {
        "client-certificate-data": base64.encodebytes(certificate).decode(),
        "client-key-data": base64.encodebytes(key).decode(),
    }
    config = kubeconfig(tmp_path / "config", user, {"certificate-authority": "ca"})
    tls = (await kubeconfig_access([config]).credentials.proof()).tls
    assert tls is not None
    assert [ca["serialNumber"] for ca in tls.get_ca_certs()] == ["01"]


async def test_an_informer_outlives_a_token_that_cannot_be_read(kube: FakeKubernetes, tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(b"\xff")
    path = kubeconfig(tmp_path / "config", {"tokenFile": "token"}, {"server": kube.url})
    async with Client(kubeconfig_access([path])) as client:
        informer = Informer(client, PODS, PartialObject)
        running = asyncio.create_task(informer.run())
        while informer.last_error is None:
            await asyncio.sleep(0.01)
        assert isinstance(informer.last_error, CredentialError)
        (tmp_path / "token").write_text("good")
        async with asyncio.timeout(HANGS_S):
            await informer.synced.wait()
        running.cancel()


def test_kubeconfig_variable_merges_files_and_the_first_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = kubeconfig(tmp_path / "one", {}, namespace="first")
    two = kubeconfig(tmp_path / "two", {}, namespace="second")
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join([str(tmp_path / "missing"), str(one), str(two)]))
    assert load_access().namespace == "first"


def test_no_cluster_at_all_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(CredentialError, match="pass --kubeconfig FILE"):
        load_access()

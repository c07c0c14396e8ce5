"""A kubeconfig: the entries of one context, checked; what is not supported is refused by name and never passed over.

Format: https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlsplit

import msgspec
import yaml

from .documents import read_documents
from .errors import CredentialError
from .plugin import Program
from .tls import Tls, read_bytes, word

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Found:
    """What one context says."""

    server: str
    namespace: str
    server_name: str | None
    tls: Tls
    headers: tuple[tuple[str, str], ...]
    """As whom requests are to be judged."""
    proxy: str | None = field(repr=False)
    token: str = field(repr=False)
    token_file: Path | None
    program: Program | None


class _Variable(msgspec.Struct):
    name: str
    value: str | None = None


class _Exec(msgspec.Struct, rename="camel"):
    command: str
    api_version: str | None = None
    args: list[str] | None = None
    env: list[_Variable] | None = None
    install_hint: str | None = None
    interactive_mode: str | None = None
    provide_cluster_info: bool | None = None


class _User(msgspec.Struct, rename="kebab"):
    client_certificate: str | None = None
    client_certificate_data: str | None = None
    client_key: str | None = None
    client_key_data: str | None = None
    token: str | None = None
    token_file: str | None = msgspec.field(default=None, name="tokenFile")
    as_: str | None = msgspec.field(default=None, name="as")
    as_uid: str | None = None
    as_groups: list[str] | None = None
    as_user_extra: dict[str, list[str]] | None = None
    username: str | None = None
    password: str | None = None
    auth_provider: Any = None
    exec: _Exec | None = None


class _Cluster(msgspec.Struct, rename="kebab"):
    server: str | None = None
    tls_server_name: str | None = None
    insecure_skip_tls_verify: bool | None = None
    certificate_authority: str | None = None
    certificate_authority_data: str | None = None
    proxy_url: str | None = None


class _Context(msgspec.Struct):
    cluster: str | None = None
    user: str | None = None
    namespace: str | None = None


class _NamedUser(msgspec.Struct):
    name: str
    user: _User | None = None


class _NamedCluster(msgspec.Struct):
    name: str
    cluster: _Cluster | None = None


class _NamedContext(msgspec.Struct):
    name: str
    context: _Context | None = None


class _Kubeconfig(msgspec.Struct, rename="kebab"):
    current_context: str | None = None
    contexts: list[_NamedContext] | None = None
    clusters: list[_NamedCluster] | None = None
    users: list[_NamedUser] | None = None


@dataclass(frozen=True, slots=True)
class _Entry(Generic[T]):
    """One entry and the file that it is from: relative names of files count from there."""

    file: Path
    section: str
    name: str
    value: T

    @property
    def where(self) -> str:
        return f"{self.file}: {self.section} {self.name!r}" if self.name else f"{self.file}"

    def path(self, named: str | None) -> Path | None:
        return self.file.parent / named if named else None

    def data(self, encoded: str | None, key: str) -> bytes:
        """Of base64, which may be broken into lines. Raises CredentialError."""
        try:
            return base64.b64decode("".join((encoded or "").split()), validate=True)
        except (binascii.Error, ValueError):
            raise CredentialError(f"{self.where}: {key} is not base64") from None


def read_kubeconfig(paths: Iterable[Path], context: str | None = None) -> Found:
    """The given or the current context of these files, of which the first that has an entry counts.

    Raises CredentialError.
    """
    files = tuple(paths)
    documents = [(path, _document(path)) for path in files if path.is_file()]
    if not documents:
        raise CredentialError(f"kubeconfig {os.pathsep.join(map(str, files))} does not exist; pass --kubeconfig FILE")
    where = os.pathsep.join(str(path) for path, _ in documents)
    contexts = _merged(
        "contexts", ((path, e.name, e.context or _Context()) for path, d in documents for e in d.contexts or ())
    )
    clusters = _merged(
        "clusters", ((path, e.name, e.cluster or _Cluster()) for path, d in documents for e in d.clusters or ())
    )
    users = _merged("users", ((path, e.name, e.user or _User()) for path, d in documents for e in d.users or ()))
    name = context or next((said for _, d in documents if (said := d.current_context)), "")
    if not name:
        raise CredentialError(f"{where}: no current-context; pass --context, one of {', '.join(contexts) or 'none'}")
    chosen = _chosen(contexts, name, "contexts", where).value
    cluster = _chosen(clusters, chosen.cluster or "", "clusters", where)
    user = _chosen(users, chosen.user, "users", where) if chosen.user else _Entry(cluster.file, "users", "", _User())
    return _found(cluster, user, chosen.namespace or "")


def _found(cluster: _Entry[_Cluster], user: _Entry[_User], namespace: str) -> Found:
    refused = _refused(user)
    if refused is not None:
        raise CredentialError(refused)
    server = (cluster.value.server or "").rstrip("/")
    if not _is_url(server, "https", "http"):
        raise CredentialError(f"{cluster.where}: server is {server!r}, not a URL")
    tls = Tls(
        ca=cluster.data(cluster.value.certificate_authority_data, "certificate-authority-data"),
        ca_file=cluster.path(cluster.value.certificate_authority),
        insecure=bool(cluster.value.insecure_skip_tls_verify),
        certificate=user.data(user.value.client_certificate_data, "client-certificate-data"),
        certificate_file=user.path(user.value.client_certificate),
        key=user.data(user.value.client_key_data, "client-key-data"),
        key_file=user.path(user.value.client_key),
    )
    return Found(
        server=server,
        namespace=namespace,
        server_name=cluster.value.tls_server_name or None,
        tls=tls,
        headers=tuple(_impersonation(user)),
        proxy=_proxy(cluster),
        token=word((user.value.token or "").encode(), f"{user.where}: token"),
        token_file=user.path(user.value.token_file),
        program=_program(user, user.value.exec, cluster, tls) if user.value.exec is not None else None,
    )


def _refused(user: _Entry[_User]) -> str | None:
    """Why requests could not be made as this user; a request as somebody else, or as nobody, is none of theirs."""
    said = user.value
    if said.username or said.password:
        return (
            f"{user.where}: username and password are not supported, as Kubernetes has no basic authentication "
            f"any more; use a token, a client certificate or exec"
        )
    if said.auth_provider is not None:
        return f"{user.where}: auth-provider is not supported; use exec, such as with kubelogin"
    if not said.as_ and (said.as_uid or said.as_groups or said.as_user_extra):
        return f"{user.where}: as-uid, as-groups and as-user-extra need as, the name of a user"
    return None


def _impersonation(user: _Entry[_User]) -> Iterator[tuple[str, str]]:
    """https://kubernetes.io/docs/reference/access-authn-authz/user-impersonation/. Raises CredentialError."""
    said = user.value
    whole = (("Impersonate-User", said.as_), ("Impersonate-Uid", said.as_uid))
    headers = [(name, value) for name, value in whole if value]
    headers += [("Impersonate-Group", group) for group in said.as_groups or ()]
    for key, values in (said.as_user_extra or {}).items():
        headers += [(f"Impersonate-Extra-{quote(key, safe=_IN_HEADER_NAMES)}", value) for value in values]
    for name, value in headers:
        if not value.isprintable():
            raise CredentialError(f"{user.where}: what {name} is to say is not printable")
        yield name, value


_IN_HEADER_NAMES = "!#$&'*+-.^_`|~"


def _proxy(cluster: _Entry[_Cluster]) -> str | None:
    proxy = cluster.value.proxy_url
    if not proxy:
        return None
    if not _is_url(proxy, "http"):
        # To one that is reached by TLS our client certificate would be shown, and its own would be judged by the cluster's CA.
        raise CredentialError(
            f"{cluster.where}: proxy-url is not of the form http://HOST:PORT, and others are not supported"
        )
    return proxy


def _is_url(text: str, *schemes: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in schemes and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False


def _program(user: _Entry[_User], said: _Exec, cluster: _Entry[_Cluster], tls: Tls) -> Program:
    mode = said.interactive_mode or "IfAvailable"
    if mode not in ("Never", "IfAvailable", "Always"):
        raise CredentialError(f"{user.where}: exec.interactiveMode is {mode!r}; expected Never, IfAvailable or Always")
    return Program(
        where=user.where,
        command=str(user.path(said.command)) if "/" in said.command else said.command,
        arguments=tuple(said.args or ()),
        environment={variable.name: variable.value or "" for variable in said.env or ()},
        api_version=said.api_version or "client.authentication.k8s.io/v1",
        needs_terminal=mode == "Always",
        takes_terminal=mode != "Never",
        hint=" ".join((said.install_hint or "check users[].user.exec of the kubeconfig").split()),
        cluster=_told(cluster.value, tls) if said.provide_cluster_info else None,
    )


def _told(cluster: _Cluster, tls: Tls) -> dict[str, Any]:
    ca = tls.ca or read_bytes(tls.ca_file, "the server's CA")
    told = {
        "server": cluster.server,
        "tls-server-name": cluster.tls_server_name,
        "insecure-skip-tls-verify": cluster.insecure_skip_tls_verify,
        "certificate-authority-data": base64.b64encode(ca).decode(),
        "proxy-url": cluster.proxy_url,
    }
    return {key: value for key, value in told.items() if value}


def _merged(section: str, entries: Iterable[tuple[Path, str, T]]) -> dict[str, _Entry[T]]:
    found: dict[str, _Entry[T]] = {}
    for file, name, value in entries:
        found.setdefault(name, _Entry(file, section, name, value))
    return found


def _chosen(entries: Mapping[str, _Entry[T]], name: str, section: str, where: str) -> _Entry[T]:
    found = entries.get(name)
    if found is None:
        raise CredentialError(f"{where}: {section} has no {name!r}; it has {', '.join(entries) or 'none'}")
    return found


def _document(path: Path) -> _Kubeconfig:
    try:
        found = [document for document in read_documents(read_bytes(path, "the kubeconfig")) if document is not None]
    except (yaml.YAMLError, UnicodeDecodeError):
        raise CredentialError(f"{path}: not YAML") from None  # the parser's text would quote the file
    if found and not isinstance(found[0], dict):
        raise CredentialError(f"{path}: not a kubeconfig, it holds no mapping")
    try:
        return msgspec.convert(found[0] if found else {}, _Kubeconfig)
    except msgspec.ValidationError as error:
        said, _, place = str(error).replace("`", "").replace(" | null", "").partition(" - at $.")
        raise CredentialError(f"{path}: {place or 'the whole'}: {said[:1].lower()}{said[1:]}") from None

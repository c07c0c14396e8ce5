"""Where credentials come from, in the order of AWS's own libraries: environment, web identity, container, instance.

Web identity is what EKS calls IAM roles for service accounts; a container's address is its Pod Identity. What is temporary is
kept until shortly before it ends.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec

from howdah.adapters.aws.query import document, request
from howdah.adapters.aws.signature import Credentials
from howdah.model.errors import UNREADABLE, ExternalError

SYSTEM = "AWS credentials"
TIMEOUT_S = 10.0
NEAR_TIMEOUT_S = 2.0
"""Of an address on the same machine, which answers at once or is not there."""
RENEWED_BEFORE = dt.timedelta(minutes=5)
INSTANCE = "http://169.254.169.254"
_NEAR_HOSTS = frozenset({"169.254.170.2", "169.254.170.23", "fd00:ec2::23", "localhost", "127.0.0.1", "::1"})
"""Where a container's credentials may be asked for without TLS."""


class CredentialChain:
    """`environment` as of the process; `region` is that of the role's STS."""

    def __init__(self, environment: Mapping[str, str], region: str) -> None:
        self._environment = environment
        self._region = region
        self._known: Credentials | None = None
        self._asking = asyncio.Lock()

    async def current(self) -> Credentials:
        """Credentials that hold for some minutes at least. Raises ExternalError where there are none."""
        async with self._asking:
            known = self._known
            if known is None or (known.expires is not None and known.expires - _now() < RENEWED_BEFORE):
                self._known = await self._found()
            assert self._known is not None
            return self._known

    def forget(self) -> None:
        """AWS did not take them: look anew."""
        self._known = None

    async def _found(self) -> Credentials:
        said = self._environment
        if said.get("AWS_ACCESS_KEY_ID") and said.get("AWS_SECRET_ACCESS_KEY"):
            token = said.get("AWS_SESSION_TOKEN", "")
            return Credentials(said["AWS_ACCESS_KEY_ID"], said["AWS_SECRET_ACCESS_KEY"], token)
        if said.get("AWS_WEB_IDENTITY_TOKEN_FILE") and said.get("AWS_ROLE_ARN"):
            return await self._of_web_identity()
        if said.get("AWS_CONTAINER_CREDENTIALS_FULL_URI"):
            return await self._of_container(said["AWS_CONTAINER_CREDENTIALS_FULL_URI"])
        if said.get("AWS_EC2_METADATA_DISABLED", "").lower() != "true":
            return await self._of_instance(said.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or INSTANCE)
        raise _none("the environment names no source")

    async def _of_web_identity(self) -> Credentials:
        said = self._environment
        form = {
            "Action": "AssumeRoleWithWebIdentity",
            "Version": "2011-06-15",
            "RoleArn": said["AWS_ROLE_ARN"],
            "RoleSessionName": said.get("AWS_ROLE_SESSION_NAME") or "howdah",
            "WebIdentityToken": await _text(said["AWS_WEB_IDENTITY_TOKEN_FILE"]),
        }
        url = endpoint(said, "sts", self._region)
        headers = {"content-type": "application/x-www-form-urlencoded"}
        status, body = await request(
            "POST",
            url,
            system="STS",
            timeout_s=TIMEOUT_S,
            headers=headers,
            body=urlencode(form).encode(),
            by_proxy=True,
        )
        found = document("STS", status, body).find(".//Credentials")
        if found is None:
            raise _none("STS answers without any")
        names = {"AccessKeyId": "AccessKeyId", "SecretAccessKey": "SecretAccessKey", "SessionToken": "Token"}
        return _temporary({ours: found.findtext(theirs) for theirs, ours in names.items()} | {
            "Expiration": found.findtext("Expiration")
        })  # fmt: skip

    async def _of_container(self, url: str) -> Credentials:
        place = urlsplit(url)
        if place.scheme != "https" and place.hostname not in _NEAR_HOSTS:
            raise _none("AWS_CONTAINER_CREDENTIALS_FULL_URI leads elsewhere without TLS")
        token = self._environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")
        if path := self._environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"):
            token = await _text(path)
        return _temporary(await _json(url, {"authorization": token} if token else {}))

    async def _of_instance(self, base: str) -> Credentials:
        """IMDSv2: a token first. The role's name is the only line of the list."""
        base, lifetime = base.rstrip("/"), {"x-aws-ec2-metadata-token-ttl-seconds": "300"}
        token = await _near("PUT", f"{base}/latest/api/token", lifetime)
        proof, place = {"x-aws-ec2-metadata-token": token}, f"{base}/latest/meta-data/iam/security-credentials/"
        role = (await _near("GET", place, proof)).strip()
        return _temporary(await _json(place + role, proof))


def endpoint(environment: Mapping[str, str], service: str, region: str) -> str:
    """Where a service is: as the environment says in the words of AWS's libraries, else by the region."""
    said = environment.get(f"AWS_ENDPOINT_URL_{service.upper()}") or environment.get("AWS_ENDPOINT_URL")
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return (said or f"https://{service}.{region}.{domain}").rstrip("/") + "/"


def _temporary(said: Mapping[str, Any]) -> Credentials:
    try:
        key, secret, token = said["AccessKeyId"], said["SecretAccessKey"], said["Token"]
        expires = dt.datetime.fromisoformat(said["Expiration"])
        return Credentials(str(key), str(secret), str(token), expires.astimezone(dt.UTC))
    except (KeyError, TypeError, ValueError):
        raise _none("what was answered is not complete") from None  # and not quoted


async def _json(url: str, headers: Mapping[str, str]) -> Mapping[str, Any]:
    try:
        return msgspec.json.decode(await _near("GET", url, headers), type=dict[str, Any])
    except UNREADABLE:
        raise _none("what was answered is no JSON") from None


async def _near(method: str, url: str, headers: Mapping[str, str]) -> str:
    status, body = await request(method, url, system=SYSTEM, timeout_s=NEAR_TIMEOUT_S, headers=headers)
    if status != 200:
        raise _none(f"{urlsplit(url).hostname} answers {status}")
    return body.decode(errors="replace")


async def _text(path: str) -> str:
    try:
        return (await asyncio.to_thread(Path(path).read_text)).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise _none(f"{path} cannot be read ({type(error).__name__})") from None


def _none(why: str) -> ExternalError:
    return ExternalError(SYSTEM, transient=True, message=f"there are none: {why}")


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)

"""The HTTP below: bounded in time and size, and no error that could hold a credential."""

from __future__ import annotations

from collections.abc import Mapping
from xml.etree import ElementTree

import aiohttp

from howdah.adapters.answers import body_of, new_session
from howdah.model.errors import ExternalError

LONGEST_MESSAGE = 300
CONNECT_S = 5.0
"""With a proxy and TLS. What was permitted before it is not sent later than that."""
_QUOTE_THE_REQUEST = frozenset({"SignatureDoesNotMatch", "IncompleteSignature", "InvalidSignatureException"})
"""Their messages repeat the request's headers, the session token among them."""


class Refused(ExternalError):  # noqa: N818 - what AWS did, as `kube.errors` names such things
    """AWS has answered with an error: `code` is its name for it."""

    def __init__(self, system: str, code: str, message: str, *, transient: bool) -> None:
        self.code = code
        super().__init__(system, transient=transient, message=f"{code}: {message}" if message else code)


async def request(
    method: str,
    url: str,
    *,
    system: str,
    timeout_s: float,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    by_proxy: bool = False,
) -> tuple[int, bytes]:
    """Status and body. A session for each request: there are few. Raises ExternalError."""
    timeout = aiohttp.ClientTimeout(total=timeout_s, connect=CONNECT_S)
    try:
        async with (
            new_session(timeout=timeout, trust_env=by_proxy) as session,
            session.request(method, url, headers=headers, data=body, allow_redirects=False) as response,
        ):
            return response.status, await body_of(system, response)
    except aiohttp.ConnectionTimeoutError:
        raise ExternalError(system, transient=True, message=f"no connection in {CONNECT_S:g} s") from None
    except TimeoutError:
        raise ExternalError(system, transient=True, message=f"no answer in {timeout_s:g} s") from None
    except (aiohttp.ClientError, ValueError) as error:
        # The text of some errors has the address, and an address may have credentials: only the kind is told.
        raise ExternalError(system, transient=True, message=f"cannot be reached ({type(error).__name__})") from None


def document(system: str, status: int, body: bytes) -> ElementTree.Element:
    """The XML of an answer, without namespaces. Raises Refused where it says an error."""
    try:
        root = ElementTree.fromstring(body)  # noqa: S314 - from AWS by TLS, bounded; expat refuses entity bombs itself
    except ElementTree.ParseError:
        raise ExternalError(system, transient=True, message=f"answers {status}, and not in XML") from None
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    if status != 200:
        code = root.findtext(".//Error/Code") or f"status {status}"
        raise Refused(system, code, _told(code, root.findtext(".//Error/Message") or ""), transient=status >= 500)
    return root


def _told(code: str, message: str) -> str:
    if code in _QUOTE_THE_REQUEST:
        return ""
    return message.partition(" Encoded authorization failure message")[0].strip()[:LONGEST_MESSAGE]

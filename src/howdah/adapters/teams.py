"""The teams API: `GET <url>/teams/<team>` with a bearer token says who is a member. Asks, caches nothing."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec

from howdah.adapters.answers import body_of, new_session
from howdah.model.errors import UNREADABLE, ExternalError

SYSTEM = "teams API"
TIMEOUT_S = 10.0
_TOO_MANY = 429


class _Team(msgspec.Struct):
    member: list[str] | None = None


class TeamsApi:
    """One API at `url`. A session for each request: there are few, and it may be away for days."""

    def __init__(self, url: str, *, timeout_s: float = TIMEOUT_S) -> None:
        self._url = url.rstrip("/")
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)

    async def members(self, team: str, token: str) -> tuple[str, ...] | None:
        """The members in the order of the answer; None where the API knows no such team. Raises ExternalError."""
        status, body = await self._get(f"{self._url}/teams/{quote(team, safe='')}", token)
        if status == 404:
            return None
        if status != 200:
            is_passing = status >= 500 or status == _TOO_MANY
            raise ExternalError(SYSTEM, transient=is_passing, message=f'answers {status} for team "{team}"')
        try:
            found = msgspec.json.decode(body, type=_Team).member
        except UNREADABLE:
            found = None
        if found is None:  # an answer without the list is not one that says "nobody"
            message = f'its answer for team "{team}" has no list of members'
            raise ExternalError(SYSTEM, transient=False, message=message)
        return tuple(dict.fromkeys(found))

    async def _get(self, url: str, token: str) -> tuple[int, bytes]:
        options: dict[str, Any] = {"headers": {"Authorization": f"Bearer {token}"}, "allow_redirects": False}
        try:
            # A proxy that the environment names is used; a redirect would take the token elsewhere.
            async with (
                new_session(timeout=self._timeout, trust_env=True) as session,
                session.get(url, **options) as response,
            ):
                return response.status, await body_of(SYSTEM, response)
        except TimeoutError:
            message = f"no answer in {self._timeout.total:g} s"
            raise ExternalError(SYSTEM, transient=True, message=message) from None
        except (aiohttp.ClientError, ValueError) as error:
            # The text of some errors has the address, and an address may have credentials: only the kind is told.
            raise ExternalError(SYSTEM, transient=True, message=f"cannot be reached ({type(error).__name__})") from None

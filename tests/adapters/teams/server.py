"""A teams API on loopback: real HTTP, with the faults that one may have."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

TOKEN = "bearer-of-the-test"


@dataclass(slots=True)
class FakeTeams:
    """What it answers: `teams`, unless `status` or `body` say something else, or it `hangs`."""

    teams: dict[str, list[str]] = field(default_factory=dict)
    url: str = ""
    status: int | None = None
    body: bytes | None = None
    hangs: bool = False
    asked: list[str] = field(default_factory=list)  # teams, in order
    tokens: set[str] = field(default_factory=set)  # that were shown to it
    token: str = TOKEN

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.match_info["team"])
        shown = request.headers.get("Authorization", "")
        self.tokens.add(shown.removeprefix("Bearer "))
        if self.hangs:
            await asyncio.sleep(60)
        if self.status is not None:
            return web.json_response({"title": "no"}, status=self.status, headers={"Location": "/elsewhere"})
        if self.body is not None:
            return web.Response(body=self.body)
        if shown != f"Bearer {self.token}":
            return web.json_response({"title": "who are you"}, status=401)
        members = self.teams.get(request.match_info["team"])
        if members is None:
            return web.json_response({"title": "unknown"}, status=404)
        return web.json_response({"id": request.match_info["team"], "member": members, "mail": []})


@asynccontextmanager
async def teams_api(teams: Mapping[str, list[str]] | None = None) -> AsyncIterator[FakeTeams]:
    api = FakeTeams(dict(teams or {}))
    app = web.Application()
    app.router.add_get("/api/teams/{team}", api.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    api.url = f"http://127.0.0.1:{runner.addresses[0][1]}/api/"
    try:
        yield api
    finally:
        await runner.cleanup()

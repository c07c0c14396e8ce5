"""The operator's HTTP endpoints: `/healthz`, `/readyz`, `/metrics`. No credentials, and nothing secret in the answers."""

from __future__ import annotations

import socket
from collections.abc import Callable

from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

SHUTDOWN_S = 1.0
"""So long a client may take for an answer that was begun when the endpoints end: the next configuration waits for that."""


def application(
    registry: CollectorRegistry, *, is_alive: Callable[[], str | None], is_ready: Callable[[], str | None]
) -> web.Application:
    """`is_alive`, `is_ready`: None when fine, else the reason why not (answered with 503)."""

    def check(question: Callable[[], str | None]) -> Handler:
        async def answer(_: web.Request) -> web.Response:
            why_not = question()
            return web.Response(text="ok\n") if why_not is None else web.Response(status=503, text=f"{why_not}\n")

        return answer

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/healthz", check(is_alive))
    for path in ("/readyz", "/readyz/"):  # the reference answers with the slash
        app.router.add_get(path, check(is_ready))
    app.router.add_get("/metrics", metrics)
    return app


async def serve(app: web.Application, host: str, port: int) -> web.AppRunner:
    """Start listening, without a `host` on every address; the caller cleans the runner up. Raises OSError for a taken port."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    site = web.TCPSite(runner, host, port) if host else web.SockSite(runner, _everywhere(port))
    await site.start()
    return runner


def _everywhere(port: int) -> socket.socket:
    """Of IPv4 and IPv6, also where the latter is switched off; of IPv4 where the system does not know another."""
    if socket.has_dualstack_ipv6():
        return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))

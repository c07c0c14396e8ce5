"""What the API server asks the node for, over a unix socket: logs and exec.

`GET /logs/NAMESPACE/POD/CONTAINER` with the query of `pods/log`, websocket `/exec/NAMESPACE/POD/CONTAINER` with that of
`pods/exec`. An empty container (`-`) means the pod's first one.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from aiohttp import web

from howdah.local.node import execution, logs
from howdah.local.node.execution import ExecRequest
from howdah.local.node.keeper import Keeper
from howdah.local.node.logs import LogQuery
from howdah.local.node.pod import PodRunner

Find = Callable[[str, str], PodRunner | None]


def _keeper(find: Find, request: web.Request) -> Keeper:
    namespace, pod = request.match_info["namespace"], request.match_info["pod"]
    named = request.match_info["container"]
    container = "" if named == "-" else named
    runner = find(namespace, pod)
    if runner is None:
        raise web.HTTPNotFound(text=f'pod "{pod}" does not run on this node\n')
    keeper = runner.keeper(container)
    if keeper is None:
        raise web.HTTPBadRequest(text=f"container {container} is not valid for pod {pod}\n")
    return keeper


def _is(query: Mapping[str, str], name: str) -> bool:
    """As the real server reads it: anything given but 0 and false is a yes."""
    return name in query and query[name] != "0" and query[name].lower() != "false"


def log_query(query: Mapping[str, str], now: float) -> LogQuery:
    """The query of `pods/log`."""
    since = ""
    if seconds := query.get("sinceSeconds"):
        since = logs.since_text(now - float(seconds))
    elif moment := query.get("sinceTime"):
        since = moment
    return LogQuery(
        tail=int(query["tailLines"]) if query.get("tailLines") else None,
        since=since,
        timestamps=_is(query, "timestamps"),
        limit_bytes=int(query["limitBytes"]) if query.get("limitBytes") else None,
    )


def _application(find: Find) -> web.Application:
    async def show_logs(request: web.Request) -> web.StreamResponse:
        keeper = _keeper(find, request)
        query = log_query(request.query, time.time())
        view = keeper.view
        attempt = view.restarts
        if _is(request.query, "previous"):
            # While it waits for its next start, the last one is the previous one already.
            attempt = attempt - 1 if view.state != "waiting" else attempt
            if view.last is None or attempt < 0:
                text = f'previous terminated container "{view.name}" not found\n'
                raise web.HTTPBadRequest(text=text)
        elif view.state == "waiting" and view.last is None:
            text = f'container "{view.name}" is waiting to start: {view.waiting}\n'
            raise web.HTTPBadRequest(text=text)
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        if _is(request.query, "follow"):
            chunks = logs.follow(keeper.folder, attempt, query, lambda: _is_over(keeper, attempt))
            async for chunk in chunks:
                await response.write(chunk)
        else:
            for chunk in _joined(logs.read(keeper.folder, attempt, query)):
                await response.write(chunk)
        await response.write_eof()
        return response

    async def execute(request: web.Request) -> web.WebSocketResponse:
        keeper = _keeper(find, request)
        if keeper.container is None:
            raise web.HTTPBadRequest(text=f'container "{keeper.view.name}" is not running\n')
        query = request.query
        asked = ExecRequest(
            argv=tuple(query.getall("command", [])),
            stdin=_is(query, "stdin"),
            stdout=_is(query, "stdout"),
            stderr=_is(query, "stderr"),
            tty=_is(query, "tty"),
        )
        if not asked.argv:
            raise web.HTTPBadRequest(text="you must specify at least 1 command for the container\n")
        socket = web.WebSocketResponse(protocols=execution.PROTOCOLS, max_msg_size=0)
        await socket.prepare(request)
        await execution.serve(socket, keeper.container, asked)
        await socket.close()
        return socket

    application = web.Application()
    application.router.add_get("/logs/{namespace}/{pod}/{container}", show_logs)
    application.router.add_get("/exec/{namespace}/{pod}/{container}", execute)
    return application


def _joined(chunks: Iterator[bytes], size: int = 65536) -> Iterator[bytes]:
    waiting = bytearray()
    for chunk in chunks:
        waiting += chunk
        if len(waiting) >= size:
            yield bytes(waiting)
            waiting.clear()
    if waiting:
        yield bytes(waiting)


def _is_over(keeper: Keeper, attempt: int) -> bool:
    return keeper.view.state != "running" or keeper.view.restarts != attempt


async def serve(path: Path, find: Find) -> web.AppRunner:
    """Listen on the socket; `cleanup()` of the answer ends it."""
    runner = web.AppRunner(_application(find), access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    # Its folder is private, and a socket of a killed process would be in the way.
    await asyncio.to_thread(path.unlink, missing_ok=True)
    await web.UnixSite(runner, str(path)).start()
    await asyncio.to_thread(path.chmod, 0o600)
    return runner

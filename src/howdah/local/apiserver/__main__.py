"""`python -m howdah.local.apiserver`: the API server of the local platform as a process."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import signal
import ssl
import sys
from ipaddress import IPv4Network
from pathlib import Path

from aiohttp import web

from howdah.local.files import write_whole

from .auth import Tokens
from .certificates import Pki, ensure_pki, kubeconfig
from .consequences import follow
from .http import Api
from .kept import listener, service_range
from .kinds import Registry
from .objects import Obj
from .prepare import DEFAULT_SERVICE_RANGE
from .proxy import Node
from .schema import builtin_definitions
from .store import Store
from .writes import Call, State, create

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
SHUTDOWN_TIMEOUT_S = 0.5


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m howdah.local.apiserver", description=__doc__)
    parser.add_argument("--dir", type=Path, required=True, help="where certificates, kubeconfig and store are kept")
    parser.add_argument("--listen", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="0: that of the last start, else a free one")
    parser.add_argument(
        "--service-range",
        type=IPv4Network,
        help=f"loopback addresses of services; default: that of the first start, else {DEFAULT_SERVICE_RANGE}",
    )
    parser.add_argument("--node-socket", type=Path, help="unix socket of the node agent, for logs and exec")
    return parser.parse_args(argv)


def tls(pki: Pki) -> ssl.SSLContext:
    """TLS with our certificate; clients may show one of ours."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(pki.certificate("server"), pki.key("server"))
    context.load_verify_locations(pki.certificate("ca"))
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


def opened(store: Store, services: IPv4Network = DEFAULT_SERVICE_RANGE) -> State:
    """The state of a store, with the namespaces that always exist."""
    state = State(store, Registry(builtin_definitions()), services)
    namespaces = state.registry.find("", "v1", "namespaces")
    crds = state.registry.find("apiextensions.k8s.io", "v1", "customresourcedefinitions")
    assert namespaces is not None
    assert crds is not None
    for name in NAMESPACES:
        if store.get("namespaces", "", name) is None:
            body: Obj = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            create(state, Call(namespaces, name=name, manager="kube-apiserver"), body)
    follow(state, crds, "")
    follow(state, namespaces, "")
    return state


async def serve(options: argparse.Namespace) -> None:
    """Runs until SIGTERM or SIGINT."""
    directory: Path = options.dir
    services = service_range(directory, options.service_range)
    pki = ensure_pki(directory / "pki", options.listen)
    store = Store(directory / "store.sqlite")
    state = opened(store, services)
    await store.durable()
    sock = listener(directory, options.listen, options.port)
    address = f"{options.listen}:{sock.getsockname()[1]}"
    node = Node(options.node_socket)
    api = Api(state, Tokens.from_file(pki.key("tokens")), node, address)
    server = web.Server(api.handle, access_log=None, keepalive_timeout=300.0, handler_cancellation=True)
    runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=SHUTDOWN_TIMEOUT_S)
    await runner.setup()
    await web.SockSite(runner, sock, ssl_context=tls(pki)).start()
    write_whole(directory / "kubeconfig", kubeconfig(pki, f"https://{address}"))
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    gc.collect()
    gc.freeze()
    sys.stdout.write(f"ready https://{address}\n")
    sys.stdout.flush()
    await stop.wait()
    await runner.cleanup()
    await node.close()
    await store.close()


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    options = arguments()
    options.dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    asyncio.run(serve(options))


if __name__ == "__main__":
    main()

"""``effnet-tui serve``: the dashboard in a browser, for the user who started it and no one else."""

from __future__ import annotations

import errno
import secrets
import shlex
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from aiohttp import web

HOST: Final = "127.0.0.1"
NAMES: Final = (HOST, "localhost")
"""How a browser here names this server. Another name may be a web site that points to HOST."""
END_LIMIT_S: Final = 1.0
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline';"
        " font-src 'self'; img-src 'self' data:; connect-src 'self'; frame-ancestors 'none';"
        " base-uri 'none'; form-action 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def serve(arguments: Sequence[str], port: int) -> int:
    """Serve ``effnet-tui ARGUMENTS`` until ctrl+c; the exit status.

    The address has a secret in its path: other users of this machine can connect to the port.
    """
    try:
        from aiohttp import web
        from textual_serve.server import Server
    except ImportError:
        print(
            "effnet-tui serve needs textual-serve: pip install -e '.[web]' in its clone",
            file=sys.stderr,
        )
        return 1
    try:
        listening = socket.create_server((HOST, port))
    except OSError as problem:
        print(_not_opened(port, problem), file=sys.stderr)
        return 1
    command = shlex.join([sys.executable, "-m", __package__, *arguments])
    dashboards = Server(f"exec {command}")
    page = (resources.files("tui") / "web" / "index.html").read_text("utf-8")

    async def index(_: web.Request) -> web.Response:
        return web.Response(text=page, content_type="text/html")

    @web.middleware
    async def only_here(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if not is_from_here(request.host, request.headers.get("Origin")):
            raise web.HTTPForbidden(text=f"Open http://{HOST}:{port}/ on this machine.\n")
        return await handler(request)

    async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(HEADERS)

    secret = secrets.token_urlsafe(16)
    app = web.Application(middlewares=[only_here])
    app.on_response_prepare.append(add_headers)
    app.add_routes(
        [
            web.get(f"/{secret}/", index),
            web.get(f"/{secret}/ws", dashboards.handle_websocket),
            web.static(f"/{secret}/static", dashboards.statics_path),
        ]
    )
    port = listening.getsockname()[1]

    def started(_: str) -> None:
        print(f"The dashboard is at  http://{HOST}:{port}/{secret}/")
        print("Only this machine can reach it. ctrl+c ends it; runs continue.", flush=True)

    web.run_app(app, sock=listening, print=started, access_log=None, shutdown_timeout=END_LIMIT_S)
    return 0


def is_from_here(host: str, origin: str | None) -> bool:
    """Whether a request was made for this server by its own page, or by an address that was typed.

    A web site can make a browser connect to this machine, with its own name as the host (DNS
    rebinding) or as the origin. An SSH tunnel changes only the port.
    """
    name, _, port = host.partition(":")
    return (
        name in NAMES
        and (not port or port.isdecimal())
        and (origin is None or origin == f"http://{host}")
    )


def _not_opened(port: int, problem: OSError) -> str:
    """Why the port could not be opened, and which command can."""
    why = (
        "is in use" if problem.errno == errno.EADDRINUSE else f"cannot be used: {problem.strerror}"
    )
    try:
        with socket.create_server((HOST, 0)) as free:
            other = free.getsockname()[1]
    except OSError:
        other = 0
    return f"port {port} {why}; choose another one: effnet-tui serve --port {other}"

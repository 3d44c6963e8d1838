"""A service for notifications on the loopback."""

from __future__ import annotations

import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PASSWORD = "pw-5d1f-of-the-webhook"


class Webhook:
    """Keeps what was posted. The next ``refusals`` requests are answered with 503."""

    def __init__(self) -> None:
        self.posts: list[dict[str, Any]] = []
        self.first_s: dict[str, float] = {}
        """The id of each notice -> Unix time when it first came."""
        self.refusals = 0
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                is_refused, hook.refusals = hook.refusals > 0, max(hook.refusals - 1, 0)
                if not is_refused:
                    hook.posts.append(body)
                    hook.first_s.setdefault(id_of(body), time.time())
                self.send_response(503 if is_refused else 200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"json://user:{PASSWORD}@127.0.0.1:{self.server.server_port}/"

    def ids(self) -> list[str]:
        return [id_of(post) for post in self.posts]

    def titles(self) -> list[str]:
        return [post["title"].partition(": ")[2] for post in self.posts]


def id_of(post: dict[str, Any]) -> str:
    """The last line of the message."""
    return str(post["message"]).splitlines()[-1]

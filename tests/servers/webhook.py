"""A receiver of webhooks that answers as a test wants, and remembers what came."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import sleep
from types import TracebackType
from typing import Any, NamedTuple, Self

from tests.servers.ports import HOST

DROP = 0
"""In place of a status: the connection is closed without an answer."""


class Post(NamedTuple):
    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class WebhookServer:
    """Answers the posts with `statuses` one after another, and the last of them from then on."""

    def __init__(self, statuses: Sequence[int] = (200,), seconds: float = 0.0):
        self.posts: list[Post] = []
        self.statuses = list(statuses)
        self.seconds = seconds
        """Until an answer."""
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer((HOST, 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://{HOST}:{self._server.server_port}/hook?key=s3cret-of-the-hook"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _took(self, post: Post) -> int:
        with self._lock:
            self.posts.append(post)
            return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        took, receiver = self._took, self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = took(Post(self.path, {name.lower(): text for name, text in self.headers.items()}, body))
                sleep(receiver.seconds)
                if status == DROP:
                    self.close_connection = True
                    return
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST

            def log_message(self, *_: Any) -> None:
                """Its posts are the log."""

        return Handler

"""A web server of a few pages that a test makes up, with a log of who came when."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic
from types import TracebackType
from typing import Any, NamedTuple, Self


class Visit(NamedTuple):
    """A request as the server saw it."""

    at: float
    path: str


class Page(NamedTuple):
    """An answer."""

    body: str = ""
    status: int = 200
    headers: dict[str, str] = {}


class WebServer:
    """Answers `pages[path]`, a Page or a function of the number of earlier visits to it; 404 for others."""

    def __init__(self, pages: dict[str, Page | Callable[[int], Page]], host: str = "127.0.0.1"):
        self.pages = pages
        self.visits: list[Visit] = []
        self.at_once: list[int] = []
        """How many requests were being answered when each one came."""
        self._answering = 0
        self._lock = threading.Lock()
        self._came = threading.Condition(self._lock)
        self._server = ThreadingHTTPServer((host, 0), self._handler())
        self._server.daemon_threads = True
        self.domain = f"{host}:{self._server.server_port}"
        self.url = f"http://{self.domain}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def wait_for(self, visits: int, seconds: float = 30) -> None:
        """Return when so many requests have come."""
        with self._came:
            assert self._came.wait_for(lambda: len(self.visits) >= visits, seconds), self.visits

    def visits_of(self, path: str) -> list[float]:
        """The moments at which `path` was asked for."""
        return [visit.at for visit in self.visits if visit.path == path]

    def _answer(self, path: str) -> Page:
        with self._came:
            earlier = len(self.visits_of(path))
            self.visits.append(Visit(monotonic(), path))
            self._answering += 1
            self.at_once.append(self._answering)
            self._came.notify_all()
        page = self.pages.get(path, Page("not here", 404))
        return page(earlier) if callable(page) else page

    def _answered(self) -> None:
        with self._lock:
            self._answering -= 1

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        answer, answered = self._answer, self._answered

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                page = answer(self.path)
                body = page.body.encode()
                self.send_response(page.status)
                for name, value in {"Content-Type": "text/html", **page.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                answered()

            def log_message(self, *_: Any) -> None:
                """Its visits are the log."""

        return Handler

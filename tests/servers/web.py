"""A web server of a few pages that a test makes up, with a log of who came when."""

from __future__ import annotations

import io
import socket
import ssl
import struct
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic, sleep, time
from types import TracebackType
from typing import Any, NamedTuple, Self

from tests.polling import PATIENCE
from tests.servers.certificates import Certificate

_STAMPS = 35
"""Linux's SO_TIMESTAMPNS: the kernel tells when a packet came, also where nobody had a CPU to read it."""


class Visit(NamedTuple):
    """A request as the server saw it."""

    at: float
    """When it came, on the monotonic clock. With TLS, when it was read, which on a busy machine is later."""
    path: str
    headers: dict[str, str] = {}
    """By lower-case name."""


class Page(NamedTuple):
    """An answer."""

    body: str = ""
    status: int = 200
    headers: dict[str, str] = {}


class _Stamped(io.RawIOBase):
    """Reads a connection; `at` is when what was read last had come."""

    def __init__(self, connection: socket.socket):
        self._connection = connection
        self.at = monotonic()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size, extras, *_ = self._connection.recvmsg_into([buffer], socket.CMSG_SPACE(16))
        self.at = monotonic()
        for _, kind, stamp in extras:
            if kind == _STAMPS:
                seconds, nanoseconds = struct.unpack("qq", stamp)
                self.at -= time() - seconds - nanoseconds / 1e9
        return size


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is gone, as killed workers are, is no error here."""


class WebServer:
    """Answers `pages[path]`, a Page or a function of the number of earlier visits to it; 404 for others."""

    def __init__(
        self,
        pages: Mapping[str, Page | Callable[[int], Page]],
        host: str = "127.0.0.1",
        certificate: Certificate | None = None,
        port: int = 0,
    ):
        self.pages: Any = pages
        self.latency = 0.0
        """Seconds until an answer."""
        self.may_answer = threading.Event()
        """While it is cleared, every request waits."""
        self.may_answer.set()
        self.visits: list[Visit] = []
        self.times: Counter[str] = Counter()
        """How often each path was asked for."""
        self.at_once: list[int] = []
        """How many requests were being answered when each one came."""
        self._answering = 0
        self._lock = threading.Lock()
        self._came = threading.Condition(self._lock)
        self._server = _Server((host, port), self._handler())
        self._server.socket.setsockopt(socket.SOL_SOCKET, _STAMPS, 1)  # its connections have it from there
        self.domain = f"{host}:{self._server.server_port}"
        self.url = f"{'https' if certificate else 'http'}://{self.domain}"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            plain = self._server.socket
            self._server.socket = context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def wait_for(self, visits: int, seconds: float = PATIENCE) -> None:
        """Return when so many requests have come."""
        with self._came:
            assert self._came.wait_for(lambda: len(self.visits) >= visits, seconds), self.visits

    def visits_of(self, path: str) -> list[float]:
        """The moments at which `path` was asked for."""
        return [visit.at for visit in self.visits if visit.path == path]

    def _answer(self, path: str, at: float, headers: dict[str, str]) -> Page:
        with self._came:
            earlier = self.times[path]
            self.times[path] += 1
            self.visits.append(Visit(at, path, headers))
            self._answering += 1
            self.at_once.append(self._answering)
            self._came.notify_all()
        sleep(self.latency)
        self.may_answer.wait(PATIENCE)
        page = self.pages.get(path, Page("not here", 404))
        return page(earlier) if callable(page) else page

    def _answered(self) -> None:
        with self._lock:
            self._answering -= 1

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        answer, answered = self._answer, self._answered

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                self._stamped = None
                if not isinstance(self.connection, ssl.SSLSocket):
                    self._stamped = _Stamped(self.connection)
                    self.rfile = io.BufferedReader(self._stamped)

            def do_GET(self) -> None:
                try:
                    headers = {name.lower(): value for name, value in self.headers.items()}
                    page = answer(self.path, self._stamped.at if self._stamped else monotonic(), headers)
                    body = page.body.encode()
                    self.send_response(page.status)
                    for name, value in {"Content-Type": "text/html", **page.headers}.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                finally:
                    answered()

            def log_message(self, *_: Any) -> None:
                """Its visits are the log."""

        return Handler

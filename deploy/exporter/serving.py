"""/metrics and /healthz of the exporter."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client.exposition import choose_encoder

from deploy.exporter.looking import Exporter


def server(exporter: Exporter, host: str, port: int) -> ThreadingHTTPServer:
    """Listens already; `serve_forever` answers. Raises OSError where the port is taken."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/metrics":
                encode, kind = choose_encoder(self.headers.get("Accept", ""))
                self._answer(200, encode(exporter.registry), kind)
            elif self.path == "/healthz":
                healthy = exporter.healthy
                self._answer(200 if healthy else 503, b"ok\n" if healthy else b"stuck\n")
            else:
                self._answer(404, b"/metrics or /healthz\n")

        def _answer(self, status: int, body: bytes, kind: str = "text/plain; charset=utf-8") -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """A scrape is worth no line."""

    return ThreadingHTTPServer((host, port), Handler)

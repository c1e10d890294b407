"""A door before the real registry, as gateways are: TLS, a client's certificate, and a user with a password."""

from __future__ import annotations

import ssl
import threading
from base64 import b64encode
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from tests.servers.certificates import Authority

USER, PASSWORD, KEY_PASSWORD = "registry-user", "pass-word-of-the-registry", "pass-word-of-its-key"


class RegistryGate:
    """`with RegistryGate(url, folder) as gate:` passes on to the registry at `url` who has what `gate.env` says."""

    def __init__(self, url: str, folder: Path):
        self._target = urlsplit(url)
        self._authority = Authority(folder)
        self._client = self._authority.issue("client", KEY_PASSWORD)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self._authority.issue("gate"))
        context.load_verify_locations(self._authority.certificate)
        context.verify_mode = ssl.CERT_REQUIRED
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self._target.netloc))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def env(self) -> dict[str, str]:
        """What a worker needs to come in."""
        return {
            "SCHEMA_REGISTRY_URL": f"https://127.0.0.1:{self._server.server_port}{self._target.path}",
            "SCHEMA_REGISTRY_USERNAME": USER,
            "SCHEMA_REGISTRY_PASSWORD": PASSWORD,
            "SCHEMA_REGISTRY_SSL_CA_LOCATION": str(self._authority.certificate),
            "SCHEMA_REGISTRY_SSL_CERTIFICATE_LOCATION": str(self._client.certificate),
            "SCHEMA_REGISTRY_SSL_KEY_LOCATION": str(self._client.key),
            "SCHEMA_REGISTRY_SSL_KEY_PASSWORD": KEY_PASSWORD,
        }


def _handler(target: str) -> type[BaseHTTPRequestHandler]:
    ticket = f"Basic {b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}"

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Authorization") != ticket:
                self._answer(401, b'{"error_code": 40101, "message": "who are you?"}')
                return
            connection = HTTPConnection(target, timeout=20)
            kept = {name: value for name, value in self.headers.items() if name.lower() in ("content-type", "accept")}
            connection.request(self.command, self.path, body, kept)
            answer = connection.getresponse()
            self._answer(answer.status, answer.read(), answer.headers.get("Content-Type", "application/json"))
            connection.close()

        do_GET = do_POST = do_PUT = do_DELETE = _pass_on

        def _answer(self, status: int, body: bytes, kind: str = "application/json") -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nobody reads it."""

    return Handler

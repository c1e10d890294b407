"""The pages that are rendered: scripts write them from JSON that they fetch, as shops' do.

light   the document, a script, JSON
shop    beside those a style sheet, two more scripts, 24 images and a font; 400 elements
held    light, but its JSON takes seconds: as many as are asked for are in flight then
"""

from __future__ import annotations

import asyncio
import json
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

HOLD = 8.0
"""Seconds that the JSON of a held page takes."""
_SCRIPT = """fetch('/api' + location.pathname).then(answer => answer.json()).then(product => {
    const list = product.rows.map(row => `<li class=row><b>${row}</b><span>in stock</span></li>`).join('');
    document.getElementById('app').innerHTML =
        `<h1>${product.name}</h1><p class=price>${product.price}</p><ul>${list}</ul>`;
    document.body.dataset.ready = '1';
});"""
_LIBRARY = "const known = {};" + "".join(f"known[{n}] = x => [x, {n}].map(y => y * 2);" for n in range(2000))
_STYLE = "".join(f".c{n} {{ color: #{n:03x}; margin: {n % 9}px; }}" for n in range(300)) + "body { font-family: f; }"
_FONT = "<style>@font-face { font-family: f; src: url(/font.woff2) }</style>"


def _document(kind: str) -> str:
    head = "<!doctype html><html><head><meta charset=utf-8><title>A product</title>"
    body = "</head><body><div id=app></div>"
    if kind == "shop":
        head += f"{_FONT}<link rel=stylesheet href=/style.css><script src=/a.js></script><script src=/b.js></script>"
        body += "".join(f"<p class=c{n}><img src=/i/{n}.png width=80 height=80> text</p>" for n in range(24))
    return f"{head}{body}<script src=/app.js></script></body></html>"


def _png() -> bytes:
    """256 by 256 pixels, grey, not to be compressed well."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    rows = b"".join(b"\0" + bytes((x * y * 7919 >> 5) & 255 for x in range(256)) for y in range(256))
    header = (256).to_bytes(4, "big") * 2 + bytes((8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


_PNG = _png()


def _answer(path: str) -> tuple[str, bytes]:
    """(content type, body)."""
    if path.startswith("/api/"):
        rows = [f"row {n}" for n in range(400 if "/shop/" in path else 10)]
        product = {"name": f"Product {path.rpartition('/')[2]}", "price": "9.90", "rows": rows}
        return "application/json", json.dumps(product).encode()
    if path.startswith("/i/"):
        return "image/png", _PNG
    if path == "/font.woff2":
        return "font/woff2", bytes(20_000)
    if path == "/style.css":
        return "text/css", _STYLE.encode()
    if path.endswith(".js"):
        return "text/javascript", (_SCRIPT if path == "/app.js" else _LIBRARY).encode()
    return "text/html", _document(path.split("/")[1]).encode()


class _Connection(asyncio.Protocol):
    """HTTP/1.1 with kept connections; requests have no bodies. Nothing is cached: sites' own pages differ."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._unread = b""

    def data_received(self, data: bytes) -> None:
        self._unread += data
        while b"\r\n\r\n" in self._unread:
            head, _, self._unread = self._unread.partition(b"\r\n\r\n")
            path = head.split(b" ", 2)[1].decode()
            wait = HOLD if path.startswith("/api/held/") else 0.0
            asyncio.get_running_loop().call_later(wait, self._send, path)

    def _send(self, path: str) -> None:
        kind, body = _answer(path)
        head = (
            f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nCache-Control: no-store\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._transport.write(head.encode() + body)


class Site:
    """Where it is."""

    def __init__(self, base: str):
        self._base = base
        self._given = 0

    def urls(self, kind: str, count: int) -> list[str]:
        """Addresses that nobody was given before."""
        self._given += count
        return [f"{self._base}/{kind}/{self._given - number}" for number in range(count)]


@contextmanager
def running_site() -> Iterator[Site]:
    """On a free port of loopback, in a thread of its own."""
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(loop.create_server(_Connection, "127.0.0.1", 0, backlog=512))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield Site(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)

"""Serves recorded pages by their own URLs, through an HTTP forward proxy on loopback.

    python -m bench.replay FOLDER [--port 0] [--list FILE]
    scrapy crawl product_spider -a urls=@FILE -s PROXIES=http://127.0.0.1:PORT

FOLDER holds html/ID.html.gz and ground-truth.json, which maps each ID to an object with the page's `url`. Pages of
https addresses are listed as http, so that no TLS is needed. A page is sent as it was captured, and without a charset,
which the recording does not hold.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, urldefrag, urlsplit

HOST = "127.0.0.1"
SAFE = "!#$%&'()*+,/:;=?@[]~"
"""What a client leaves as it is when it puts a URL on the wire; the rest it percent-encodes."""


class RecordingError(Exception):
    """A folder that is no recording; the message names the file."""


class Recording:
    """Pages by URL in its http form, without fragment."""

    def __init__(self, folder: Path) -> None:
        truth = folder / "ground-truth.json"
        try:
            entries = json.loads(truth.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise RecordingError(f"{truth}: not a recording's list of pages: {error}") from None
        self._folder = folder
        self.pages = {http_form(entry["url"]): page_id for page_id, entry in entries.items()}
        """URL to ID."""

    def body(self, url: str) -> bytes | None:
        """The page as captured; None where it was not."""
        page_id = self.pages.get(http_form(url))
        if page_id is None:
            return None
        return gzip.decompress((self._folder / "html" / f"{page_id}.html.gz").read_bytes())


def http_form(url: str) -> str:
    """One spelling per page, whatever its scheme and fragment."""
    parts = urlsplit(urldefrag(url).url)
    return quote(parts._replace(scheme="http", netloc=parts.netloc.lower(), path=parts.path or "/").geturl(), safe=SAFE)


class ReplayProxy(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, recording: Recording, port: int = 0) -> None:
        super().__init__((HOST, port), _Handler)
        self.recording = recording

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_port}"

    @property
    def pages(self) -> dict[str, str]:
        """URL in its http form to the page's ID."""
        return self.recording.pages

    @property
    def urls(self) -> list[str]:
        return list(self.pages)


class _Handler(BaseHTTPRequestHandler):
    server: ReplayProxy
    protocol_version = "HTTP/1.1"
    # Head and body leave together: otherwise each answer may wait for the acknowledgement of its head.
    wbufsize = 65536
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if not self.path.startswith(("http://", "https://")):
            self._answer(400, b"This is a proxy: ask for whole URLs, GET http://host/path\n", "text/plain")
            return
        try:
            body = self.server.recording.body(self.path)
        except ValueError as error:
            self._answer(400, f"not a URL: {error}\n".encode(), "text/plain")
            return
        if body is None:
            self._answer(404, f"not recorded: {self.path}\n".encode(), "text/plain")
        else:
            self._answer(200, body, "text/html")

    do_HEAD = do_GET

    def do_CONNECT(self) -> None:
        text = "No TLS here: ask for the http form of the URL, as --list writes it.\n"
        self.close_connection = True
        self._answer(501, text.encode(), "text/plain")

    def _answer(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Silent: whoever crawls through it has a log."""


@contextmanager
def replay(folder: Path | str, port: int = 0) -> Iterator[ReplayProxy]:
    """The proxy in a thread of its own: `.url` is its address, `.urls` are the pages', `.pages` maps them to IDs."""
    with ReplayProxy(Recording(Path(folder)), port) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join(timeout=10)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.replay", description="Recorded pages through a proxy.")
    parser.add_argument("folder", type=Path, help="holds html/ID.html.gz and ground-truth.json")
    parser.add_argument("--port", type=int, default=0, help="0 (the default) takes a free one")
    parser.add_argument("--list", type=Path, metavar="FILE", help="write the pages' URLs there, one a line")
    options = parser.parse_args(argv)
    try:
        proxy = ReplayProxy(Recording(options.folder), options.port)
    except (RecordingError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    if options.list:
        options.list.write_text("".join(f"{url}\n" for url in proxy.urls), "utf-8")
    print(proxy.url, flush=True)
    with proxy:
        try:
            proxy.serve_forever()
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())

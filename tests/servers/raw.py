"""A server that writes bytes as it likes: no header is right, no body ends, unless a test says so."""

from __future__ import annotations

import socket
import threading
import zlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from itertools import repeat
from types import TracebackType
from typing import Self

Answer = Callable[[], Iterable[bytes]]
"""What is written, part by part."""

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
MIB = 1024 * 1024


def zeros(mebibytes: int) -> Iterable[bytes]:
    """A gzip stream of zeros, a thousandth of its content, part by part."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, 31)
    for _ in range(mebibytes):
        yield deflate.compress(bytes(MIB)) + deflate.flush(zlib.Z_FULL_FLUSH)
    yield deflate.flush()


def encoded(encoding: str, body: Callable[[], Iterable[bytes]]) -> Answer:
    """A page whose body is `body`, in that encoding."""

    def answer() -> Iterable[bytes]:
        yield OK + f"Content-Encoding: {encoding}\r\nConnection: close\r\n\r\n".encode()
        yield from body()

    return answer


def endless(head: bytes, part: bytes) -> Answer:
    """`head`, and `part` for as long as somebody takes it."""

    def answer() -> Iterable[bytes]:
        yield head
        yield from repeat(part)

    return answer


class RawServer:
    """Writes `answers[path]` to whoever asks for it, and counts the bytes that were taken. One request a connection."""

    def __init__(self, answers: Mapping[str, Answer], host: str = "127.0.0.1"):
        self._answers = answers
        self._socket = socket.create_server((host, 0))
        self.domain = f"{host}:{self._socket.getsockname()[1]}"
        self.url = f"http://{self.domain}"
        self.written: dict[str, int] = {}
        """Bytes by path."""
        self.left = threading.Event()
        """Whether a client has closed a connection while it was written to."""

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._socket.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError, IndexError):
            path = connection.recv(65_536).split(b" ")[1].decode()
            self.written[path] = 0
            try:
                for part in self._answers[path]():
                    connection.sendall(part)
                    self.written[path] += len(part)
            except OSError:
                self.left.set()

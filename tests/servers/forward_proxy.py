"""A forward proxy that really forwards: plain HTTP, HTTP's CONNECT, or SOCKS5 (RFC 1928, 1929)."""

from __future__ import annotations

import asyncio
import base64
import struct
import threading
from contextlib import suppress
from time import monotonic
from typing import Self
from urllib.parse import quote, urlsplit

WALL = b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\nContent-Length: 28\r\n\r\n<title>Access denied</title>"
BAD_GATEWAY = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"


class ForwardProxy:
    """Runs while it is entered. `scheme` is "http" or "socks5"; without a user it lets everybody through."""

    def __init__(self, scheme: str = "http", user: str = "", password: str = ""):
        self._scheme = scheme
        self._user, self._password = user, password
        self.asked: list[tuple[str, int]] = []
        """Where its clients wanted to go, with the right password."""
        self.asked_at: list[float] = []
        """When, on the monotonic clock."""
        self.delay = 0.0
        """Seconds until it does what it was asked for."""
        self.trouble = ""
        """`drop`: it closes the connection; `hang`: it says nothing; `502`; `ban`: it shows a site's wall."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        talk = self._http if self._scheme == "http" else self._socks
        self._server = await asyncio.start_server(talk, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    @property
    def url(self) -> str:
        """With its credentials."""
        secret = f"{quote(self._user, safe='')}:{quote(self._password, safe='')}@" if self._user else ""
        return f"{self._scheme}://{secret}{self.address}"

    async def _http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        credentials = base64.b64encode(f"{self._user}:{self._password}".encode()).decode()
        if self._user and f"Basic {credentials}" not in head:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            writer.close()
            return
        method, target, _ = head.split(" ", 2)
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
            if await self._is_well(writer, host, int(port)):
                await self._relay(host, int(port), reader, writer, b"HTTP/1.1 200 Connected\r\n\r\n")
            return
        parts = urlsplit(target)
        host, number = parts.hostname or "", parts.port or 80
        if not await self._is_well(writer, host, number):
            return
        their_reader, their_writer = await asyncio.open_connection(host, number)
        own = [line for line in head.split("\r\n")[1:] if not line.lower().startswith(("proxy-", "connection:"))]
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        their_writer.write("\r\n".join([f"{method} {path} HTTP/1.1", "Connection: close", *own]).encode("latin-1"))
        await _copy(their_reader, writer)

    async def _is_well(self, writer: asyncio.StreamWriter, host: str, port: int) -> bool:
        """Whether it goes on with a request."""
        self.asked.append((host, port))
        self.asked_at.append(monotonic())
        await asyncio.sleep(self.delay)
        match self.trouble:
            case "":
                return True
            case "hang":
                await asyncio.sleep(3600)
            case "502":
                writer.write(BAD_GATEWAY)
            case "ban":
                writer.write(WALL)
        writer.close()
        return False

    async def _socks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, count = await reader.readexactly(2)
        await reader.readexactly(count)
        writer.write(b"\x05\x02" if self._user else b"\x05\x00")
        if self._user and not await self._is_known(reader, writer):
            writer.close()
            return
        _, _, _, kind = await reader.readexactly(4)
        if kind == 3:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        else:
            host = ".".join(str(part) for part in await reader.readexactly(4))
        [port] = struct.unpack("!H", await reader.readexactly(2))
        if await self._is_well(writer, host, port):
            await self._relay(host, port, reader, writer, b"\x05\x00\x00\x01" + bytes(6))

    async def _is_known(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        _, length = await reader.readexactly(2)
        user = await reader.readexactly(length)
        password = await reader.readexactly((await reader.readexactly(1))[0])
        is_right = (user.decode(), password.decode()) == (self._user, self._password)
        writer.write(b"\x01\x00" if is_right else b"\x01\x01")
        return is_right

    async def _relay(
        self, host: str, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes
    ) -> None:
        their_reader, their_writer = await asyncio.open_connection(host, port)
        writer.write(answer)
        for one, other in ((reader, their_writer), (their_reader, writer)):
            task = asyncio.ensure_future(_copy(one, other))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


class RunningProxy(ForwardProxy):
    """One with a thread of its own, for crawls that are processes of their own."""

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.__aenter__(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self.__aexit__(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()

"""A forward proxy with a user and a password: HTTP's CONNECT, or SOCKS5 (RFC 1928, 1929)."""

from __future__ import annotations

import asyncio
import base64
import struct
from contextlib import suppress
from typing import Self
from urllib.parse import quote


class ForwardProxy:
    """Runs while it is entered. `scheme` is "http" or "socks5"."""

    def __init__(self, scheme: str, user: str, password: str):
        self._scheme = scheme
        self._user, self._password = user, password
        self.asked: list[tuple[str, int]] = []
        """Where its clients wanted to go, with the right password."""
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
    def url(self) -> str:
        """With its credentials."""
        port = self._server.sockets[0].getsockname()[1]
        return f"{self._scheme}://{quote(self._user, safe='')}:{quote(self._password, safe='')}@127.0.0.1:{port}"

    async def _http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        credentials = base64.b64encode(f"{self._user}:{self._password}".encode()).decode()
        if f"Basic {credentials}" not in head:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            writer.close()
            return
        host, _, port = head.split()[1].rpartition(":")
        await self._relay(host, int(port), reader, writer, b"HTTP/1.1 200 Connected\r\n\r\n")

    async def _socks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, count = await reader.readexactly(2)
        await reader.readexactly(count)
        writer.write(b"\x05\x02")
        _, length = await reader.readexactly(2)
        user = await reader.readexactly(length)
        password = await reader.readexactly((await reader.readexactly(1))[0])
        is_right = (user.decode(), password.decode()) == (self._user, self._password)
        writer.write(b"\x01\x00" if is_right else b"\x01\x01")
        if not is_right:
            writer.close()
            return
        _, _, _, kind = await reader.readexactly(4)
        if kind == 3:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        else:
            host = ".".join(str(part) for part in await reader.readexactly(4))
        [port] = struct.unpack("!H", await reader.readexactly(2))
        await self._relay(host, port, reader, writer, b"\x05\x00\x00\x01" + bytes(6))

    async def _relay(
        self, host: str, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes
    ) -> None:
        self.asked.append((host, port))
        their_reader, their_writer = await asyncio.open_connection(host, port)
        writer.write(answer)
        for one, other in ((reader, their_writer), (their_reader, writer)):
            task = asyncio.ensure_future(_copy(one, other))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()

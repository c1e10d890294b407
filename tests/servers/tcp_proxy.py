"""A TCP proxy on loopback that breaks what goes through it, in the ways in which networks do."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from types import TracebackType
from typing import Self

from tests.servers.redis import HOST

_AT_ONCE = 65_536
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: closing drops what is not sent, and tells the other end."""


class TcpProxy:
    """`async with TcpProxy(port) as proxy:` passes connections to `proxy.port` on to `port`."""

    def __init__(self, target: int):
        self.port = 0
        self.swallowed = 0
        """Bytes of replies that nobody got."""
        self._target = target
        self._is_cut = self._is_stalled = self._swallows = False
        self._links: set[_Link] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, HOST, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._server.close()
        for link in list(self._links):
            link.task.cancel()
        await asyncio.gather(*(link.task for link in self._links), return_exceptions=True)

    @property
    def url(self) -> str:
        """Of a Redis behind it."""
        return f"redis://{HOST}:{self.port}/0"

    def cut(self) -> None:
        """Drop all connections, and every new one, until `mend`."""
        self._is_cut = True
        self.reset()

    def stall(self, *, new: bool = True) -> None:
        """Keep what connections send until `mend`; new ones pass where `new` is False."""
        self._is_stalled = new
        for link in self._links:
            link.passes.clear()

    def swallow_replies(self) -> None:
        """Requests arrive and replies do not, until `mend`."""
        self._swallows = True

    def mend(self) -> None:
        """Pass on again, at first what was kept: it arrives also where its sender has left."""
        self._is_cut = self._is_stalled = self._swallows = False
        for link in self._links:
            link.passes.set()

    def reset(self) -> None:
        """Drop the connections."""
        for link in self._links:
            link.reset()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            writer.transport.abort()
            return
        link = _Link(self, writer)
        self._links.add(link)
        if self._is_stalled:
            link.passes.clear()
        try:
            with suppress(OSError, asyncio.CancelledError):
                await link.run(reader, *await asyncio.open_connection(HOST, self._target))
        finally:
            self._links.discard(link)
            writer.close()

    @property
    def swallows(self) -> bool:
        return self._swallows


class _Link:
    """One connection from a client, and the one to the server."""

    def __init__(self, proxy: TcpProxy, client: asyncio.StreamWriter):
        self.passes = asyncio.Event()
        self.passes.set()
        task = asyncio.current_task()
        assert task is not None
        self.task: asyncio.Task[None] = task
        self._proxy = proxy
        self._client = client

    def reset(self) -> None:
        self._client.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._client.transport.abort()

    async def run(
        self, from_client: asyncio.StreamReader, from_server: asyncio.StreamReader, server: asyncio.StreamWriter
    ) -> None:
        replies = asyncio.create_task(self._pass_replies(from_server))
        try:
            while data := await from_client.read(_AT_ONCE):
                await self.passes.wait()
                server.write(data)
                await server.drain()
        finally:
            server.close()  # what was written is sent first
            replies.cancel()

    async def _pass_replies(self, from_server: asyncio.StreamReader) -> None:
        with suppress(OSError):
            while data := await from_server.read(_AT_ONCE):
                await self.passes.wait()
                if self._proxy.swallows:
                    self._proxy.swallowed += len(data)
                else:
                    self._client.write(data)
                    await self._client.drain()
        self._client.close()

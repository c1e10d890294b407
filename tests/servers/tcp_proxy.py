"""A TCP proxy on loopback that breaks what goes through it, in the ways in which networks do."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from tests.servers.redis import HOST

_AT_ONCE = 65_536
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: closing drops what is not sent, and tells the other end."""


class TcpProxy:
    """`with TcpProxy(port) as network:` passes connections to `network.port` on to `port`, in a thread of its own."""

    def __init__(self, target: int):
        self.port = 0
        self.lost = threading.Event()
        """Set when a reply was lost on its way."""
        self._target = target
        self._is_cut = self._is_stalled = self._loses = False
        self._links: set[_Link] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tcp-proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        server = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._connected, HOST, 0), self._loop).result(10)
        self.port = server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @property
    def url(self) -> str:
        """Of a Redis behind it."""
        return f"redis://{HOST}:{self.port}/0"

    def cut(self) -> None:
        """Drop all connections, and every new one, until `mend`."""
        self._is_cut = True
        self._for_links(_Link.reset)

    def stall(self, *, new: bool = True) -> None:
        """Keep what is sent until `mend`; new connections pass where `new` is False."""
        self._is_stalled = new
        self._for_links(lambda link: link.passes.clear())

    def lose_next_answer(self) -> None:
        """Let the next request arrive, and drop the connection in place of its reply."""
        self.lost.clear()
        self._loses = True

    def mend(self) -> None:
        """Pass on again, at first what was kept: it arrives also where its sender has left."""
        self._is_cut = self._is_stalled = self._loses = False
        self._for_links(lambda link: link.passes.set())

    def loses(self) -> bool:
        """Whether this reply is the one to be lost."""
        loses, self._loses = self._loses, False
        return loses

    def _for_links(self, change: Callable[[_Link], None]) -> None:
        """Change every connection that is there, before returning."""

        async def change_all() -> None:
            for link in list(self._links):
                change(link)

        asyncio.run_coroutine_threadsafe(change_all(), self._loop).result(10)

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

    async def _end(self) -> None:
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Link:
    """A client's connection, and the one to the server that goes with it."""

    def __init__(self, proxy: TcpProxy, client: asyncio.StreamWriter):
        self.passes = asyncio.Event()
        self.passes.set()
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
                if self._proxy.loses():
                    self.reset()
                    self._proxy.lost.set()
                    return
                self._client.write(data)
                await self._client.drain()
        self._client.close()

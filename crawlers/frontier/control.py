"""The registry of crawls over a connection that is made again when it is lost."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING, Any

import structlog

from crawlers.frontier.connection import AWAY, connect_at_start, told
from crawlers.frontier.crawls import Crawls

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from crawlers.frontier.connection import Connection, Servers
    from crawlers.frontier.keys import Keys

log = structlog.get_logger("seine.frontier")

_PAUSE = 0.5
"""Seconds between two attempts to reach Redis again."""
_TOLERATED = 20
"""Attempts after which it is told: it may be a right that is missing, and then the sessions have nothing to tell."""


class Control:
    """Asks the registry, one question at a time, for as long as it takes."""

    def __init__(self, servers: Servers, keys: Keys):
        self.keys = keys
        self._servers = servers
        self._crawls: Crawls | None = None
        self._lock = asyncio.Lock()

    async def open(self) -> Crawls:
        """Connect at a start; StartupError where Redis is unreachable."""
        self._crawls = Crawls(self.keys, await self.connect())
        return self._crawls

    async def connect(self) -> list[Connection]:
        """A connection to each shard at a start; StartupError where one is unreachable."""
        return [await connect_at_start(self._servers, self.keys.shard(number)) for number in range(self.keys.shards)]

    async def ask(self, question: Callable[[Crawls], Awaitable[Any]]) -> Any:
        """The answer to `question`, which is put again after every lost connection: it must bear that."""
        async with self._lock:
            for attempt in count(1):
                try:
                    if self._crawls is None:
                        self._crawls = Crawls(self.keys, await self._connect_again())
                    return await question(self._crawls)
                except AWAY as error:
                    if attempt == _TOLERATED:
                        log.error("crawls cannot be asked", error=told(error))
                    await self.close()
                    await asyncio.sleep(_PAUSE)

    async def _connect_again(self) -> list[Connection]:
        """A connection to each shard, or none that is left open."""
        connections: list[Connection] = []
        try:
            for number in range(self.keys.shards):
                connections.append(await self._servers.connect(self.keys.shard(number)))
        except BaseException:
            for connection in connections:
                await connection.close()
            raise
        return connections

    async def close(self) -> None:
        """Drop the connections."""
        if self._crawls is not None:
            await self._crawls.close()
            self._crawls = None

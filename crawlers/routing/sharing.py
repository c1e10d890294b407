"""What is known of sites' routes: in this process, or in Redis for the fleet, which is told and asked once a second.

Where Redis is away a worker goes by what it knows, and tells the rest later.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import structlog

from crawlers.frontier.connection import AWAY, failed, told
from crawlers.frontier.scripts import run
from crawlers.routing.knowledge import Op, SiteKnowledge

if TYPE_CHECKING:
    from crawlers.frontier.connection import Connection, Servers
    from crawlers.frontier.keys import Keys
    from crawlers.frontier.scripts import Command

log = structlog.get_logger("seine.routing")

_BEAT = 1.0
REMEMBERED = 90 * 86_400
"""Seconds that a site's routes are, from the last news of them."""


class LocalRoutes:
    """Of one process."""

    def __init__(self, sites: list[str]):
        self._known = {name: SiteKnowledge() for name in sites}

    def known(self, site: str) -> SiteKnowledge:
        """What is known now."""
        return self._known[site]

    async def open(self) -> None:
        """Nothing is to be asked."""

    async def close(self) -> None:
        """Nothing is to be told."""

    def note(self, site: str, op: Op) -> None:
        """Take it in."""
        self._known[site].apply(op)

    async def tell(self, site: str, op: Op) -> bool:
        """Take it in; of a claim, whether it is granted."""
        return self._known[site].apply(op)


class SharedRoutes(LocalRoutes):
    """The fleet's."""

    def __init__(self, sites: list[str], servers: Servers, keys: Keys):
        super().__init__(sites)
        self._servers = servers
        self._keys = keys
        self._untold: dict[str, list[Op]] = {name: [] for name in sites}
        self._connections: dict[int, Connection] = {}
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Hear what is known, and go on talking."""
        await self._talk_once()
        self._task = asyncio.ensure_future(self._talk())

    async def close(self) -> None:
        """Tell what is left, and drop the connections."""
        if self._task is not None:
            async with self._lock:  # it is not in the middle of a talk
                self._task.cancel()
        await self._talk_once()
        for connection in self._connections.values():
            await connection.close()
        self._connections.clear()

    def note(self, site: str, op: Op) -> None:
        """Take it in, to be told with the next beat."""
        super().note(site, op)
        self._untold[site].append(op)

    async def tell(self, site: str, op: Op) -> bool:
        """Tell it now; of a claim, whether it is granted."""
        try:
            return await self._exchange(site, op)
        except AWAY as error:
            log.warning("routes are not shared: Redis cannot be asked", error=told(error))
            if op.what not in ("claim", "release"):
                self._untold[site].append(op)
            return super().known(site).apply(op)

    async def _talk(self) -> None:
        while True:
            await asyncio.sleep(_BEAT)
            await self._talk_once()

    async def _talk_once(self) -> None:
        for site in self._untold:
            try:
                await self._exchange(site)
            except AWAY as error:
                log.warning("routes are not shared: Redis cannot be asked", error=told(error))

    async def _exchange(self, site: str, *more: Op) -> bool:
        async with self._lock:
            ops, self._untold[site] = _summed(self._untold[site]), []
            shard = self._keys.shard_of(site)
            try:
                now, granted, flat = await self._call(shard, command(self._keys.shard(shard), site, *ops, *more))
            except AWAY:
                self._untold[site] = ops + self._untold[site]
                raise
            self._known[site] = known = SiteKnowledge.read(flat, now)
            for op in self._untold[site]:  # noted while Redis was asked
                known.apply(op)
        return bool(granted)

    async def _call(self, shard: int, asked: Command) -> Any:
        try:
            if shard not in self._connections:
                self._connections[shard] = await self._servers.connect(self._keys.shard(shard))
            replies = await self._connections[shard].call(asked)
            if (error := failed(replies)) is not None:
                raise error
        except AWAY:
            if (connection := self._connections.pop(shard, None)) is not None:
                with suppress(*AWAY):
                    await connection.close()
            raise
        return replies[0]


def command(root: str, site: str, *ops: Op) -> Command:
    """That tells `ops` to the shard of that root, and asks for what is known of `site`."""
    return run("routes", root, root, site, REMEMBERED, *(part for op in ops for part in op))


def _summed(ops: list[Op]) -> list[Op]:
    """The pages of a field in one."""
    pages: dict[str, int] = {}
    others = []
    for op in ops:
        if op.what == "pages":
            pages[op.field] = pages.get(op.field, 0) + int(op.value)
        else:
            others.append(op)
    return others + [Op("pages", name, number) for name, number in pages.items()]

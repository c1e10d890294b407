"""The frontier as the commands see it: a connection to every shard, and the crawl that is meant. It has no worker."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from crawlers.exceptions import UserError
from crawlers.frontier.connection import Servers
from crawlers.frontier.control import Control
from crawlers.frontier.crawls import Crawls
from crawlers.frontier.keys import Keys
from crawlers.frontier.options import FrontierOptions
from crawlers.frontier.paging import pages, pairs
from crawlers.frontier.wiring import uses_frontier

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from crawlers.frontier.connection import Connection

_LATEST = 100
"""Crawls that are looked through for open ones."""


class Fleet:
    """A spider's crawls and workers, over connections of the command's own."""

    def __init__(self, settings: Any, keys: Keys, connections: list[Connection]):
        self.settings = settings
        self.options = FrontierOptions.from_settings(settings)
        self.keys = keys
        self.connections = connections
        self.crawls = Crawls(keys, connections)

    @classmethod
    @asynccontextmanager
    async def connected(cls, settings: Any, spider: str) -> AsyncIterator[Fleet]:
        """The fleet of the Redis that is configured. UserError where none is, StartupError where it is unreachable."""
        if not uses_frontier(settings):
            raise UserError('REDIS_URL is not set. On a laptop: eval "$(scrapy stack env)"')
        keys = Keys(settings["FRONTIER_NAMESPACE"], spider, settings.getint("FRONTIER_SHARDS"))
        connections = await Control(Servers.from_settings(settings), keys).connect()
        try:
            yield cls(settings, keys, connections)
        finally:
            for connection in connections:
                await connection.close()

    def shards(self) -> Iterator[tuple[int, Connection]]:
        """(number, connection) of each shard."""
        return enumerate(self.connections)

    async def now(self) -> int:
        """Redis's clock, in milliseconds."""
        seconds, microseconds = await self.connections[0].one("TIME")
        return int(seconds) * 1000 + int(microseconds) // 1000

    async def find_crawl(self, name: str | None) -> str | None:
        """`name`; without a name, the newest crawl that is open, else the newest. None where there is none."""
        latest = [name] if name else await self.open_crawls() or await self.crawls.names(1)
        if not latest or not await self.crawls.describe(latest[0]):
            return None
        await self._check(latest[0])
        return latest[0]

    async def the_crawl(self, name: str | None) -> str:
        """As `find_crawl`. UserError where there is none."""
        found = await self.find_crawl(name)
        if found is None and name:
            raise UserError(f"no crawl {name} of {self.keys.spider}: `scrapy frontier crawls` lists them")
        if found is None:
            raise UserError(f"no crawl of {self.keys.spider} yet: `scrapy crawl {self.keys.spider}` opens one")
        return found

    async def the_open_crawl(self, name: str | None) -> str:
        """`name`, if there is such a crawl; without a name, the one that is open. UserError where there are several."""
        if name:
            return await self.the_crawl(name)
        found = await self.open_crawls()
        if not found:
            raise UserError(f"no crawl of {self.keys.spider} is open: name one with --crawl")
        if len(found) > 1:
            raise UserError(f"several crawls are open: name one with --crawl: {', '.join(found[:10])}")
        return await self.the_crawl(found[0])

    async def open_crawls(self) -> list[str]:
        """The crawls that are not complete, the newest first; of those that are older than the latest, a page."""
        registry, connection = self.keys.registry, self.connections[0]
        names = await self.crawls.names(_LATEST)
        async for page in pages(connection, "HSCAN", f"{registry}:open", count=_LATEST):
            names += [name for _, raw in pairs(page) if (name := raw.decode()) not in names]
            break
        states = await connection.call(*(("HGET", f"{registry}:crawl:{name}", "state") for name in names))
        return [name for name, state in zip(names, states, strict=True) if state not in (None, b"complete")]

    async def _check(self, name: str) -> None:
        shards = int((await self.crawls.describe(name))["shards"])
        if shards != self.keys.shards:
            raise UserError(f"crawl {name} has {shards} shards: set FRONTIER_SHARDS={shards}")

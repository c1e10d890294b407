"""A way into a crawl for who is none of its workers: it adds requests as the scheduler does, and takes none."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from crawlers.exceptions import UserError
from crawlers.frontier.connection import Servers
from crawlers.frontier.control import Control
from crawlers.frontier.frontier import Frontier
from crawlers.frontier.intake import Intake, decimal
from crawlers.frontier.leases import Child, NewRequest
from crawlers.frontier.options import FrontierOptions
from crawlers.frontier.scheduler import FrontierScheduler

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scrapy import Request
    from scrapy.crawler import Crawler

    from crawlers.frontier.keys import Keys

TAKES_SEEDS = ("running", "paused", "draining")
"""States of a crawl."""
_KNOWN, _KNOWN_ELSEWHERE = 2, 3
"""Kinds of seed that lua/enqueue.lua makes known, and does not queue."""
_BATCH = 1000
_BACKLOG = 4000
"""Requests on their way to Redis; the next ones wait for room."""
_LAST_WORD = 2.0
"""Seconds for Redis to hear that nothing more comes."""


class _Adding(Frontier):
    """A worker that takes no leases, and counts what came of its requests."""

    def __init__(self, servers: Servers, keys: Keys, crawl: str, options: FrontierOptions, name: str):
        super().__init__(servers, keys, crawl, options, worker_name=name)
        self.draining = True
        self.added = self.duplicates = self.over_limit = 0

    def counted(self, added: int, duplicates: int, over: int) -> None:
        super().counted(added, duplicates, over)
        self.added += added
        self.duplicates += duplicates
        self.over_limit += over


class WayIn(FrontierScheduler):
    """`async with`: the crawl is not complete meanwhile. The scheduler's rules hold, without an engine."""

    frontier: _Adding

    def __init__(self, crawler: Crawler, keys: Keys, crawl: str, name: str):
        super().__init__(crawler)
        spider = crawler.spider
        assert spider is not None
        servers = Servers.from_settings(crawler.settings)
        options = replace(FrontierOptions.from_settings(crawler.settings), batch=_BATCH, linger=0.0)
        self._spider, self._keys, self._intake = spider, keys, Intake(crawler, keys)
        self.control = Control(servers, keys)
        self.frontier = _Adding(servers, keys, crawl, options, name)
        self.state = "running"
        """The crawl's, as last told."""
        self.is_waiting = False
        """Whether Redis keeps it waiting."""
        self._holding: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.control.open()
        await self.frontier.open(await self.control.connect())
        await self.tell("hold", self.frontier.options.lease_ms)
        self._holding = asyncio.create_task(self._hold())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._holding is not None
        self._holding.cancel()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.tell("hold", 0), _LAST_WORD)
        await self.frontier.close(_LAST_WORD)
        await self.control.close()

    def add(self, request: Request, data: bytes, id_: bytes, original: bytes = b"", revived: int = 0) -> int:
        """Add a seed, whose bytes are `data`; the shard that it goes to. `original` and `revived` as of NewRequest."""
        new = self._intake.charged(request, data, id_, original, revived, is_seed=True)
        self.frontier.enqueue(new)
        return self._keys.shard_of(new.domain)

    def know(self, id_: bytes, shards: Iterable[int], counted_in: int | None = None) -> None:
        """Let shards know a fingerprint without a request; one of them counts it, as seeded and filtered."""
        for number in shards:
            kind = _KNOWN if number == counted_in else _KNOWN_ELSEWHERE
            session = self.frontier.sessions[number]
            session.arrivals.append(Child(NewRequest(id_, decimal(id_), "", 0, b"", kind, "", 0), number, None))
            session.wake()

    def check(self) -> None:
        """UserError where the crawl takes no more requests."""
        if self.frontier.is_over or self.state not in TAKES_SEEDS:
            raise UserError(f"crawl {self.frontier.crawl} is {self.state}: it takes no more. Name another with --crawl")

    async def room(self) -> None:
        """Return when there is room for more."""
        if self.frontier.backlog >= _BACKLOG:
            await self._until(_BACKLOG // 2)

    async def confirmed(self) -> None:
        """Return when Redis has everything that was added."""
        await self._until(0)
        self.check()

    async def tell(self, action: str, number: int = 0) -> None:
        """An action of lua/seeding.lua."""
        crawl, worker = self.frontier.crawl, self.frontier.worker
        reply: list[Any] = await self.control.ask(lambda crawls: crawls.seeding(crawl, worker, action, number))
        if action == "hold":
            [self.state] = reply

    async def _until(self, most: int) -> None:
        while self.frontier.backlog > most or (not most and not self.frontier.quiet):
            before = self.frontier.backlog
            for session in self.frontier.sessions:
                session.wake()
            await self.frontier.changed(1.0)
            self.is_waiting = self.frontier.backlog == before
        self.is_waiting = False

    async def _hold(self) -> None:
        lease_ms = self.frontier.options.lease_ms
        while True:
            await asyncio.sleep(lease_ms / 3000)
            await self.tell("hold", lease_ms)

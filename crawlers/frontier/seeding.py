"""Seeds a crawl, once for all workers: one of them runs the spider's `start()`, and another goes on where it died."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog
from scrapy import Request

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

    from crawlers.frontier.control import Control
    from crawlers.frontier.frontier import Frontier

log = structlog.get_logger("seine.frontier")

_BACKLOG = 2000
"""Seeds on their way to Redis; the next ones wait for room."""


class Seeding:
    """A crawl is seeded when every request of the spider's `start()` is confirmed; until then it is not complete.

    A Redis that was restarted may have lost seeds that it had confirmed, and that they were all there: who seeded the
    crawl does it again, and whoever finds it unseeded does it too.
    """

    def __init__(self, crawler: Crawler, control: Control, lease_ms: int):
        self._crawler = crawler
        self._control = control
        self._lease_ms = lease_ms
        self._sure_at = 0

    async def run(self, frontier: Frontier) -> None:
        """See to it that the crawl is seeded, by this worker or another, from now on."""
        is_mine = False
        while True:
            restarts = frontier.restarts
            is_mine = await self._see_to(frontier, is_mine)
            self._sure_at = restarts
            await frontier.restart_after(restarts)
            log.warning("seeds may be lost: looked after again", mine=is_mine)

    def is_sure(self, frontier: Frontier) -> bool:
        """Whether no restart of Redis has cast doubt on the seeds."""
        return self._sure_at == frontier.restarts

    async def _see_to(self, frontier: Frontier, is_mine: bool) -> bool:
        """Return when the crawl is seeded: whether it was this worker who did it."""
        while True:
            word, *reached = await self._tell(frontier, "claim", self._lease_ms)
            if word == "yours" or (word == "done" and is_mine):
                await self._seed(frontier, 0 if frontier.restarts else reached[0])
                return True
            if word == "done":
                return False
            await asyncio.sleep(self._lease_ms / 3000)

    async def _seed(self, frontier: Frontier, reached: int) -> None:
        """Yield what `start()` yields to the engine, but for the first `reached`, which Redis has."""
        assert self._crawler.engine is not None
        engine = self._crawler.engine
        skip = reached if _is_stable(self._crawler.spider) else 0
        if skip:
            log.info("seeding goes on", confirmed=skip)
        number, keeping = 0, asyncio.create_task(self._keep(frontier))
        try:
            seeds = await engine.scraper.spidermw.process_start()
            assert seeds is not None
            async for seed in seeds:
                number += 1
                if number <= skip:
                    continue
                if isinstance(seed, Request):
                    engine.crawl(seed)
                else:
                    engine.scraper._start_itemproc_nowait(seed)
                if frontier.backlog >= _BACKLOG:
                    await frontier.all_confirmed()
                    await self._tell(frontier, "reached", number)
            await frontier.all_confirmed()
            await self._tell(frontier, "done")
        finally:
            keeping.cancel()
        log.info("seeded", requests=number)

    async def _keep(self, frontier: Frontier) -> None:
        while True:
            await asyncio.sleep(self._lease_ms / 3000)
            await self._tell(frontier, "claim", self._lease_ms)

    async def _tell(self, frontier: Frontier, action: str, number: int = 0) -> list[Any]:
        reply: list[Any] = await self._control.ask(
            lambda crawls: crawls.seeding(frontier.crawl, frontier.worker, action, number)
        )
        return reply


def _is_stable(spider: Any) -> bool:
    """Whether `start()` yields the same requests in the same order in every worker: those of a list of URLs."""
    targets = getattr(spider, "targets", None)
    return bool(targets and targets.urls)

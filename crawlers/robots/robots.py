"""The rules of an origin: fetched once by the fleet, kept for a day, and used longer while no newer ones can be had."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

import structlog
from scrapy.robotstxt import ProtegoRobotParser

from crawlers import metrics
from crawlers.frontier.connection import AWAY
from crawlers.refusals import RobotsUnreachable
from crawlers.robots.bounded import Bounded
from crawlers.robots.fetching import NOT_ASKED, Unreachable, fetch_robots
from crawlers.robots.reducing import EVERYBODY, reduce_robots
from crawlers.robots.store import LocalStore, RobotsStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from scrapy import Request
    from scrapy.crawler import Crawler

    from crawlers.robots.store import Copy

log = structlog.get_logger("seine.robots")

_REMEMBERED = 64 * 1024 * 1024
"""Bytes of parsed rules in a worker, about."""
_PARSED = 1000
"""Bytes of a parsed rule, about."""
_LOOK = 0.1
"""Seconds between two looks at what another worker is fetching."""
_LONGEST_STALE = 60.0
"""Seconds that a worker uses a stale copy before it looks for a new one again."""


@dataclass(slots=True)
class Known:
    """An origin's rules for us, as far as this worker knows."""

    rules: ProtegoRobotParser
    until: float
    """On the monotonic clock."""
    is_told: bool = False
    """Whether others have heard of them."""

    def allow(self, url: str) -> bool:
        return self.rules.allowed(url, EVERYBODY)


class Robots:
    """`token`: of the agent whose rules these are; `ttl`: seconds that a copy is fresh; `keep`: seconds that one is
    better than none.
    """

    def __init__(self, crawler: Crawler, store: RobotsStore, token: str, ttl: float, keep: float, turn: float):
        self._crawler = crawler
        self._token = token
        self._store = store
        self._local = LocalStore(keep, turn)
        """Used while Redis is away."""
        self._longest_wait = crawler.settings.getfloat("RETRY_AFTER_LONGEST")
        self._ttl = ttl
        self._keep = keep
        self._known: Bounded[Known] = Bounded(_REMEMBERED)
        self._asking: dict[str, asyncio.Task[Known]] = {}

    def known(self, origin: str) -> Known | None:
        """The rules, where this worker has them and they hold."""
        known = self._known.get(origin)
        return known if known is not None and known.until > monotonic() else None

    async def find(self, origin: str, asking: Request) -> Known:
        """The rules that `asking` waits for. Raises RobotsUnreachable where nobody can tell them, and what says that
        nobody could be asked.
        """
        task = self._asking.get(origin)
        if task is None:
            task = self._asking[origin] = asyncio.create_task(self._find_anywhere(origin, asking))
            task.add_done_callback(lambda _: self._asking.pop(origin, None))
        return await asyncio.shield(task)

    async def _find_anywhere(self, origin: str, asking: Request) -> Known:
        try:
            return await self._find(origin, asking, self._store)
        except AWAY:
            return await self._find(origin, asking, self._local)

    async def _find(self, origin: str, asking: Request, store: RobotsStore) -> Known:
        while True:
            copy = await store.look(origin)
            if copy is not None and copy.age < self._ttl:
                return self._remember(origin, copy.body, self._ttl - copy.age)
            turn = await store.take_turn(origin)
            if turn.is_ours:
                return await self._fetch(origin, asking, store, copy)
            if copy is not None:
                return self._remember(origin, copy.body, min(turn.wait, _LONGEST_STALE))
            if not turn.is_fetching:
                raise RobotsUnreachable(f"{origin}/robots.txt was unreachable", turn.wait)
            await asyncio.sleep(_LOOK)

    async def _fetch(self, origin: str, asking: Request, store: RobotsStore, stale: Copy | None) -> Known:
        async def elsewhere(other: str) -> bytes | None:
            return await self._of_another(other, asking, store)

        try:
            body = await self._ask(origin, asking, store, elsewhere)
        except Unreachable as error:
            return await self._do_without(origin, store, stale, error)
        return self._remember(origin, body, self._ttl)

    async def _ask(
        self,
        origin: str,
        asking: Request,
        store: RobotsStore,
        elsewhere: Callable[[str], Awaitable[bytes | None]] | None = None,
    ) -> bytes:
        """What holds for us, which is shared from now on; the turn was this worker's."""
        assert self._crawler.engine is not None
        try:
            whole = await fetch_robots(self._crawler.engine, origin, asking, self._longest_wait, elsewhere)
        except NOT_ASKED:
            await store.give_turn_back(origin)
            raise
        metrics.ROBOTS.labels("fetched").inc()
        body = reduce_robots(whole, self._token)
        await store.put(origin, body)
        return body

    async def _of_another(self, origin: str, asking: Request, store: RobotsStore) -> bytes | None:
        """What holds for us at an origin that a redirect has led to; None while another worker fetches it: to wait for
        that one, which may have been led here, could last for ever. Raises as `_ask` does.
        """
        copy = await store.look(origin)
        if copy is not None and copy.age < self._ttl:
            return copy.body
        turn = await store.take_turn(origin)
        if not turn.is_ours:
            if turn.is_fetching:
                return None
            raise Unreachable(f"{origin}/robots.txt was unreachable", turn.wait)
        try:
            return await self._ask(origin, asking, store)
        except Unreachable as error:
            await store.miss(origin, error.wait)
            raise

    async def _do_without(self, origin: str, store: RobotsStore, stale: Copy | None, error: Unreachable) -> Known:
        metrics.ROBOTS.labels("unreachable").inc()
        absence = await store.miss(origin, error.wait)
        log.warning("robots.txt unreachable", origin=origin, why=str(error), has_copy=stale is not None)
        if stale is not None:
            return self._remember(origin, stale.body, min(absence.pause, _LONGEST_STALE))
        if absence.seconds < self._keep:
            raise RobotsUnreachable(f"{origin}/robots.txt: {error}", absence.pause)
        await store.put(origin, b"")
        return self._remember(origin, b"", self._ttl)

    def _remember(self, origin: str, body: bytes, seconds: float) -> Known:
        known = Known(ProtegoRobotParser(body, self._crawler.spider), monotonic() + seconds)
        self._known.put(origin, known, _PARSED * (1 + body.count(b"\n")) + len(body))
        return known

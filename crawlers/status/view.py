"""What the fleet's Redis tells of a spider's crawls, looked at as often as somebody asks, and no more often."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any

from crawlers.exceptions import SeineError
from crawlers.frontier.connection import AWAY, told
from crawlers.frontier.fleet import Fleet
from crawlers.frontier.politeness import Survey, survey
from crawlers.frontier.report import Status, status_of, summaries

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOP = 20
"""Domains that are shown."""
_OPEN = 10
"""Crawls that are looked at, of those that are open at once."""
_LATEST = 10
"""Crawls that are listed."""
_SURVEY_AGE = 15.0
"""Seconds that what is known of all domains, and of earlier crawls, may be old."""
_PATIENCE = 5.0
"""Seconds that one look may take."""


@dataclass(frozen=True, slots=True)
class RedisMemory:
    """Of one shard's server, in bytes."""

    shard: int
    used: int
    most: int
    """`maxmemory`; 0 is no limit."""


@dataclass(slots=True)
class FleetState:
    """A spider's crawls at one moment."""

    looked_at: float
    """On the monotonic clock."""
    crawls: list[Status] = field(default_factory=list)
    """Those that are open, the newest first; where none is, the latest."""
    latest: list[dict[str, Any]] = field(default_factory=list)
    """Summaries of the latest, as `scrapy frontier crawls` has them."""
    survey: Survey = field(default_factory=Survey)
    memory: list[RedisMemory] = field(default_factory=list)
    error: str = ""
    """Why nothing newer is known."""


class FleetView:
    """Asks Redis over connections of its own, so that a slow look delays no crawl. Never raises."""

    def __init__(self, settings: Any, spider: str):
        self._settings = settings
        self._spider = spider
        self._stack = AsyncExitStack()
        self._fleet: Fleet | None = None
        self._lock = asyncio.Lock()
        self._settled: dict[str, tuple[float, int]] = {}
        """Of each crawl: when it was looked at, and how many requests had an outcome."""
        self._surveyed_at = float("-inf")
        self.state = FleetState(float("-inf"))

    async def look(self, age: float) -> FleetState:
        """The state, not older than `age` seconds; where Redis does not answer, an older one that says why."""
        async with self._lock:
            if monotonic() - self.state.looked_at > age:
                try:
                    async with asyncio.timeout(_PATIENCE):
                        self.state = await self._state()
                except (*AWAY, SeineError, TimeoutError) as error:
                    await self._lose(error)
            return self.state

    async def trouble(self, age: float) -> dict[str, str]:
        """That Redis does not answer, if so it is; whoever may ask learns no more."""
        return {"redis": "does not answer"} if (await self.look(age)).error else {}

    async def close(self) -> None:
        """Drop the connections."""
        self._fleet = None
        await self._stack.aclose()

    async def ask(self, question: Any) -> Any:
        """The answer of the coroutine function `question` to the fleet; None where Redis is away."""
        async with self._lock:
            try:
                async with asyncio.timeout(_PATIENCE):
                    return await question(await self._connected())
            except (*AWAY, SeineError, TimeoutError) as error:
                await self._lose(error)
                return None

    async def _lose(self, error: Exception) -> None:
        self.state.error = str(error) if isinstance(error, SeineError) else told(error)
        self.state.looked_at = monotonic()
        await self.close()

    async def _connected(self) -> Fleet:
        if self._fleet is None:
            self._fleet = await self._stack.enter_async_context(Fleet.connected(self._settings, self._spider))
        return self._fleet

    async def _state(self) -> FleetState:
        fleet = await self._connected()
        names = (await fleet.open_crawls())[:_OPEN] or await fleet.crawls.names(1)
        found = [await status_of(fleet, name, _TOP) for name in names]
        latest, known = self.state.latest, self.state.survey
        if monotonic() - self._surveyed_at > _SURVEY_AGE:
            latest, known = await summaries(fleet, _LATEST), await survey(fleet, _TOP)
            self._surveyed_at = monotonic()
        state = FleetState(monotonic(), found, latest, known, [one async for one in _memory(fleet)])
        self._settled = dict(self._rated(state))
        return state

    def _rated(self, state: FleetState) -> Iterator[tuple[str, tuple[float, int]]]:
        for status in state.crawls:
            then, before = self._settled.get(status.crawl, (0.0, -1))
            if before >= 0:
                status.per_second["now"] = round((status.settled - before) / (state.looked_at - then), 2)
            yield status.crawl, (state.looked_at, status.settled)


async def _memory(fleet: Fleet) -> Any:
    for number, connection in fleet.shards():
        text = (await connection.one("INFO", "memory")).decode()
        fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        yield RedisMemory(number, int(fields["used_memory"]), int(fields.get("maxmemory", 0)))

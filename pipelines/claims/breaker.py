"""A circuit breaker: while a service is down, one caller asks it now and then, and the others wait."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from pipelines.claims.files import StoreAway

T = TypeVar("T")


class CircuitBreaker:
    """Opens after `failures` StoreAway in a row, of whichever callers; closes with the first success.

    `opened` is told the error, `closed` nothing; pauses are drawn from nothing to a bound that doubles from
    `shortest` to `longest` seconds.
    """

    def __init__(
        self,
        opened: Callable[[StoreAway], None],
        closed: Callable[[], None],
        failures: int = 3,
        shortest: float = 0.1,
        longest: float = 10.0,
    ):
        self._opened = opened
        self._closed = closed
        self._limit = failures
        self._shortest = shortest
        self._longest = longest
        self._failures = 0
        self._one_at_a_time = asyncio.Lock()

    @property
    def is_open(self) -> bool:
        return self._failures >= self._limit

    async def call(self, work: Callable[[], Awaitable[T]]) -> T:
        """One try of `work`, once there is reason to try. Raises what it raises; after a StoreAway, not at once."""
        while self.is_open:
            async with self._one_at_a_time:
                if self.is_open:
                    return await self._watched(work)
        return await self._watched(work)

    async def _watched(self, work: Callable[[], Awaitable[T]]) -> T:
        try:
            result = await work()
        except StoreAway as error:
            self._failures += 1
            if self._failures == self._limit:
                self._opened(error)
            await self._pause()
            raise
        if self.is_open:
            self._closed()
        self._failures = 0
        return result

    async def _pause(self) -> None:
        bound = min(self._longest, self._shortest * 2 ** min(self._failures, 20))
        await asyncio.sleep(random.uniform(0, bound))

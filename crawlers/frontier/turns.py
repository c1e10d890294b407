"""Keeps the rounds of the event loop short: one page is worked on in each, however many arrived at once.

A busy worker would else parse all that arrived before it looks at its timers again, and be late with what was to start
meanwhile with requests to domains that have a delay.
"""

from __future__ import annotations

import asyncio
from collections import deque


class Turns:
    """First come, first served; without others before it, a page waits for nothing."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_taken = False

    async def come(self) -> None:
        """Return in a round of the loop that is nobody else's."""
        loop = asyncio.get_running_loop()
        if self._is_taken:
            turn = loop.create_future()
            self._waiting.append(turn)
            await turn
        else:
            self._is_taken = True
            loop.call_soon(self._next)

    def _next(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():  # cancelled
                turn.set_result(None)
                asyncio.get_running_loop().call_soon(self._next)
                return
        self._is_taken = False

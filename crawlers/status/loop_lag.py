"""How late the event loop is: what a request waits for others' work."""

from __future__ import annotations

import asyncio
from time import monotonic

_TICK = 0.25
"""Seconds between two looks."""
_WINDOW = 30.0
"""Seconds whose longest lag is told, with that of as many before."""


class LoopLag:
    """How late a timer is that should fire four times a second."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._began = self._now = self._before = 0.0

    @property
    def longest(self) -> float:
        """Seconds, of the last half to whole minute."""
        return max(self._now, self._before)

    def open(self) -> None:
        """Look from now on."""
        self._began = monotonic()
        self._wait()

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _wait(self) -> None:
        self._due = monotonic() + _TICK
        self._timer = asyncio.get_running_loop().call_later(_TICK, self._look)

    def _look(self) -> None:
        now = monotonic()
        if now - self._began > _WINDOW:
            self._began, self._before, self._now = now, self._now, 0.0
        self._now = max(self._now, now - self._due)
        self._wait()

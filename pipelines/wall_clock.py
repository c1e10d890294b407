"""Notices that the wall clock was set back."""

from __future__ import annotations

import time


class WallClock:
    """Compares the wall clock with the monotonic one, which no one sets."""

    def __init__(self, tolerance: float):
        self._tolerance = tolerance
        self._ahead = _ahead()

    def look(self) -> None:
        """Notice how far the clock is ahead, so that a jump is seen that lasts no longer than this moment."""
        self._ahead = max(self._ahead, _ahead())

    def went_back(self) -> bool:
        """Whether it was set back by more than `tolerance` seconds since this was last asked."""
        before, self._ahead = self._ahead, _ahead()
        return before - self._ahead > self._tolerance


def _ahead() -> float:
    return time.time() - time.monotonic()

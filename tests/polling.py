"""Waits for what must happen, and says what did not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic, sleep
from typing import TypeVar

T = TypeVar("T")

INTERVAL = 0.02
PATIENCE = 60.0
"""Seconds: far more than it takes, as a machine may be busy."""


def until(condition: Callable[[], T], failure: str | Callable[[], str], seconds: float = PATIENCE) -> T:
    """What `condition` returns, once that is true; AssertionError with `failure` where it is not in time.

    A `failure` that is called tells what there is to see when the wait is over.
    """
    deadline = monotonic() + seconds
    while not (found := condition()):
        assert monotonic() < deadline, f"{failure if isinstance(failure, str) else failure()} within {seconds} s"
        sleep(INTERVAL)
    return found


async def eventually(condition: Callable[[], T], failure: str, seconds: float = PATIENCE) -> T:
    """As `until`, and the event loop goes on meanwhile."""
    deadline = monotonic() + seconds
    while not (found := condition()):
        assert monotonic() < deadline, f"{failure} within {seconds} s"
        await asyncio.sleep(INTERVAL)
    return found

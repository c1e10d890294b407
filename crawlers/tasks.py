"""How tasks are ended."""

from __future__ import annotations

import asyncio
from typing import Any

_AGAIN = 1.0
"""Seconds until a task that goes on is cancelled once more."""


async def end(*tasks: asyncio.Future[Any]) -> None:
    """Cancel them, and return when all have ended, however they do.

    To cancel once is not enough before Python 3.12: asyncio.wait_for, with which redis-py sends, forgets a cancellation
    that comes in the same turn of the loop as what it waits for. Then what goes round for ever goes on.
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_AGAIN)
    await asyncio.gather(*tasks, return_exceptions=True)

"""A time limit around every call to a browser: a stopped one answers nothing, and most calls have none of their own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from browser_pool.errors import BrowserTimeout

if TYPE_CHECKING:
    from collections.abc import Awaitable

T = TypeVar("T")


async def within(seconds: float, call: Awaitable[T], what: str) -> T:
    """What `call` returns. Raises BrowserTimeout where that takes longer; `what` names it in the message."""
    try:
        return await asyncio.wait_for(call, seconds)
    except TimeoutError:
        raise BrowserTimeout(f"{what}: no answer within {seconds:g} s") from None

"""A crawl's status on the screen: once, or again and again."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack, nullcontext
from time import monotonic
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.live import Live
from rich.text import Text

from crawlers.exceptions import StartupError
from crawlers.frontier import display
from crawlers.frontier.connection import AWAY
from crawlers.frontier.fleet import Fleet
from crawlers.frontier.report import status_of
from crawlers.frontier.status_display import status_screen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rich.console import RenderableType

    from crawlers.frontier.report import Status

_EVERY = 1.0
"""Seconds between two looks."""


class Look:
    """Looks at a crawl, and knows what it saw before. It connects anew where the connection was lost."""

    def __init__(self, settings: Any, spider: str, crawl: str | None, top: int):
        self._settings = settings
        self._spider = spider
        self._crawl = crawl
        self._top = top
        self._stack = AsyncExitStack()
        self._fleet: Fleet | None = None
        self._before: tuple[float, Status] | None = None

    async def __aenter__(self) -> Look:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def again(self) -> Status:
        """The status now. Raises one of AWAY, or StartupError."""
        try:
            if self._fleet is None:
                self._fleet = await self._stack.enter_async_context(Fleet.connected(self._settings, self._spider))
            status = await status_of(self._fleet, await self._fleet.the_crawl(self._crawl), self._top)
        except AWAY:
            self._fleet = None
            await self._stack.aclose()
            raise
        self._rate(status)
        return status

    def _rate(self, status: Status) -> None:
        now = monotonic()
        if self._before is not None and self._before[1].crawl == status.crawl:
            then, before = self._before
            status.per_second["now"] = round((status.settled - before.settled) / (now - then), 2)
        self._before = now, status


async def show_status(
    settings: Any, spider: str, crawl: str | None, top: int, *, as_json: bool = False, watch: bool = False
) -> None:
    """Print the status; with `watch`, every second, until cancelled. JSON is one object a line."""
    screen = display.console()
    live = Live(console=screen, auto_refresh=False) if watch and screen.is_terminal and not as_json else None
    async with Look(settings, spider, crawl, top) as look:
        with live or nullcontext():
            shown: RenderableType = ""
            async for found in _looks(look, watch=watch):
                if isinstance(found, Exception):
                    _tell_trouble(found, shown, live)
                elif as_json:
                    print(found.to_json(), flush=True)
                elif live is not None:
                    shown = status_screen(found)
                    live.update(shown, refresh=True)
                else:
                    display.put(status_screen(found))


async def _looks(look: Look, *, watch: bool) -> AsyncIterator[Status | Exception]:
    yield await look.again()
    while watch:
        await asyncio.sleep(_EVERY)
        try:
            yield await look.again()
        except (*AWAY, StartupError) as error:
            yield error


def _tell_trouble(error: Exception, shown: RenderableType, live: Live | None) -> None:
    why = f"Redis does not answer: {str(error) or type(error).__name__}"
    if live is not None:
        live.update(Group(shown, Text(f"  {why}", "red")), refresh=True)
    else:
        print(f"seine: {why}", file=sys.stderr)

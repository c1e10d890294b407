"""With FRONTIER_WAIT, what a worker does when a crawl is complete: it waits for the next one."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from crawlers.frontier.crawls import Definition

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crawlers.frontier.control import Control
    from crawlers.frontier.crawls import Crawls
    from crawlers.frontier.pushes import PushedUrls
    from crawlers.site_config import Site

_LOOK = 1.0
"""Seconds between two looks for something to do."""


class NextCrawl:
    """One that another worker opened, one of the sites whose interval is over, or one of pushed URLs.

    `takes_lists`: or one that `scrapy frontier seed` seeds, for which a worker must know every site.
    """

    def __init__(self, control: Control, pushed: PushedUrls, sites: Mapping[str, Site], *, takes_lists: bool):
        self._control = control
        self._pushed = pushed
        self._sites = sites
        self._takes_lists = takes_lists

    async def wait(self) -> tuple[str, Definition]:
        """The next crawl's name and definition, as soon as there is one."""
        while True:
            if (found := await self._control.ask(self._look)) is not None:
                return found  # type: ignore[no-any-return]
            await asyncio.sleep(_LOOK)

    async def _look(self, crawls: Crawls) -> tuple[str, Definition] | None:
        for name, text in await crawls.running():
            definition = Definition.read(text)
            if definition is not None and self._can_join(definition):
                return name, definition
        definition = None
        if due := self._due(await crawls.last_opened()):
            definition = Definition(sites=due)
        elif not await self._pushed.is_empty():
            definition = Definition(source=self._pushed.key)
        if definition is None:
            return None
        name, _ = await crawls.open(definition)
        return name, definition

    def _can_join(self, definition: Definition) -> bool:
        if definition.source:
            return definition.source == self._pushed.key or (definition.is_of_list and self._takes_lists)
        return set(definition.sites) <= set(self._sites)

    def _due(self, opened: dict[str, float]) -> tuple[str, ...]:
        now = time.time()
        sites = (site for site in self._sites.values() if site.enabled and site.interval)
        return tuple(sorted(site.name for site in sites if opened.get(site.name, 0.0) + site.interval <= now))

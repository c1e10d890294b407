"""Keeps to what a page asks of robots: no items of a noindex page, no links of a nofollow one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scrapy import Request
from scrapy.exceptions import NotConfigured
from scrapy.spidermiddlewares.base import BaseSpiderMiddleware

from crawlers.budgets import site_of
from crawlers.outcomes import note_withheld_item, note_withheld_link
from crawlers.robots.directives import NOFOLLOW, NOINDEX, directives_of, our_token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from scrapy.crawler import Crawler
    from scrapy.http import Response


class RobotsDirectivesMiddleware(BaseSpiderMiddleware):
    """As ROBOTS_DIRECTIVES says, or a site's `robots.directives`. A page whose items are not taken ends as
    filtered/robots; links that are not followed are counted as links/refused/nofollow.
    """

    def __init__(self, crawler: Crawler):
        super().__init__(crawler)
        settings = crawler.settings
        if not settings.getbool("ROBOTSTXT_OBEY"):
            raise NotConfigured
        self._honoured = frozenset(settings.getlist("ROBOTS_DIRECTIVES"))
        self._token = our_token(settings)

    def process_spider_output(self, response: Response | None, result: Iterable[Any]) -> Iterable[Any]:  # type: ignore[override]
        directives = self._directives(response)
        for one in result:
            if not directives or _may_pass(one, directives):
                yield one

    async def process_spider_output_async(  # type: ignore[override]
        self, response: Response | None, result: AsyncIterator[Any]
    ) -> AsyncIterator[Any]:
        directives = self._directives(response)
        async for one in result:
            if not directives or _may_pass(one, directives):
                yield one

    def _directives(self, response: Response | None) -> frozenset[str]:
        if response is None or response.request is None or not response.body:
            return frozenset()
        site = site_of(response.request, self.crawler.spider)
        own = site.robots.directives if site is not None else None
        honoured = self._honoured if own is None else frozenset(own)
        return honoured & directives_of(response, self._token) if honoured else honoured


def _may_pass(one: Any, directives: frozenset[str]) -> bool:
    if isinstance(one, Request):
        if NOFOLLOW in directives:
            note_withheld_link("nofollow")
            return False
    elif NOINDEX in directives:
        note_withheld_item("robots")
        return False
    return True

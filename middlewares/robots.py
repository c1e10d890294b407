"""Asks robots.txt before each request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from scrapy import signals
from scrapy.exceptions import NotConfigured

from crawlers.browser_rules import RENDERED
from crawlers.budgets import site_of
from crawlers.domains import domain_of
from crawlers.frontier.connection import Servers
from crawlers.frontier.keys import Keys
from crawlers.refusals import Refused
from crawlers.robots.directives import our_token
from crawlers.robots.fetching import origin_of
from crawlers.robots.robots import Robots
from crawlers.robots.store import LocalStore, RedisStore

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Response

    from crawlers.robots.robots import Known

_TIMES = 2
"""Of DOWNLOAD_TIMEOUT, that a worker has for a fetch before another one tries."""


class RobotsMiddleware:
    """In the place of Scrapy's. What is forbidden ends as filtered/robots.

    Sends Scrapy's signal `robots_parsed` whenever rules are new to this worker, which is how the frontier hears of a
    Crawl-delay. Not asked for requests with `meta["dont_obey_robotstxt"]`, and for sites with `robots.obey = false`.
    """

    def __init__(self, crawler: Crawler):
        settings = crawler.settings
        keep = settings.getfloat("ROBOTSTXT_STALE")
        turn = _TIMES * settings.getfloat("DOWNLOAD_TIMEOUT")
        self._crawler = crawler
        token = our_token(settings)
        self._shared: RedisStore | None = None
        if settings.getbool("FRONTIER_ENABLED"):
            name = crawler.spider.name if crawler.spider is not None else ""
            keys = Keys(settings["FRONTIER_NAMESPACE"], name, settings.getint("FRONTIER_SHARDS"))
            self._shared = RedisStore(Servers.from_settings(settings), keys, token, keep, turn)
        store = self._shared or LocalStore(keep, turn)
        self._robots = Robots(crawler, store, token, settings.getfloat("ROBOTSTXT_TTL"), keep, turn)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        if not crawler.settings.getbool("ROBOTSTXT_OBEY"):
            raise NotConfigured
        middleware = cls(crawler)
        crawler.signals.connect(middleware.spider_closed, signal=signals.spider_closed)
        return middleware

    async def spider_closed(self) -> None:
        if self._shared is not None:
            await self._shared.close()

    def process_request(self, request: Request) -> Awaitable[None] | None:
        """Raise Refused where the rules forbid it, RobotsUnreachable where nobody knows them, and what kept them from
        being asked for.
        """
        if not self._is_asked_about(request):
            return None
        origin = origin_of(request.url)
        if (known := self._robots.known(origin)) is None:
            return self._ask(request, origin, request)
        self._check(request, known)
        return None

    def process_response(self, request: Request, response: Response) -> Response | Awaitable[Response]:
        """A browser follows redirects by itself: a page that it was led to, and may not have, is not used."""
        if RENDERED in response.flags and response.url != request.url and self._is_asked_about(request):
            return self._look_back(request, response)
        return response

    def _is_asked_about(self, request: Request) -> bool:
        if request.meta.get("dont_obey_robotstxt"):
            return False
        site = site_of(request, self._crawler.spider)
        return site is None or site.robots.obey

    async def _look_back(self, request: Request, response: Response) -> Response:
        await self._ask(request.replace(url=response.url), origin_of(response.url), request)
        return response

    async def _ask(self, request: Request, origin: str, asking: Request) -> None:
        self._check(request, self._robots.known(origin) or await self._robots.find(origin, asking))

    def _check(self, request: Request, known: Known) -> None:
        if not known.is_told:
            known.is_told = True
            self._crawler.signals.send_catch_log(signals.robots_parsed, robotparser=known.rules, request=request)
        if not known.allow(request.url):
            raise Refused("robots", f"robots.txt of {domain_of(request.url)} forbids it")

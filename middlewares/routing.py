"""Decides for sites with `when = "auto"` whether plain HTTP is enough for a page; where it is not, has it rendered."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Self

import structlog
from scrapy import signals
from scrapy.exceptions import NotConfigured
from scrapy.http import TextResponse

from crawlers import metrics
from crawlers.browser_rules import AGAIN, PATTERN, RENDERED, ROUTE
from crawlers.budgets import site_of
from crawlers.frontier.connection import Servers
from crawlers.frontier.downloader import FleetDownloader
from crawlers.frontier.keys import Keys
from crawlers.reading import is_markup
from crawlers.robots.fetching import ROBOTS_TXT
from crawlers.routing.findings import Findings, findings_of, may_change
from crawlers.routing.knowledge import Op, field_of
from crawlers.routing.patterns import pattern_of
from crawlers.routing.sharing import LocalRoutes, SharedRoutes

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from contextlib import AbstractContextManager

    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Response

    from crawlers.routing.evidence import Evidence
    from crawlers.site_config import Site

log = structlog.get_logger("seine.routing")

HTTP, BROWSER, SAME, MORE, FAILED = "http", "browser", "same", "more", "failed"
"""Of meta[ROUTE]: HTTP alone; the browser alone; both, and HTTP would have done; both, and HTTP's page lacked
something; both, and the browser failed."""
_OF_THE_WAY = ("rendered_by", "rendered", "download_latency", "proxy_label", "identity", "identity_label")
"""Keys of meta that tell how a response came."""
_POLL = 0.2
"""Seconds between two looks whether another page's comparison has ended."""


class RoutingMiddleware:
    """Sets `meta[ROUTE]` and `meta[PATTERN]`, which the outcome's event tells; a request's own `meta["browser"]` stays.

    Where HTTP's page may lack something, the browser is asked for it in the same lease, and the better page goes on.
    """

    def __init__(self, crawler: Crawler, sites: dict[str, Site]):
        settings: Any = crawler.settings
        self._crawler = crawler
        self._sites = sites
        self._slips = settings.getfloat("ROUTING_SLIPS")
        self._claim_ms = round(1000 * (2 * settings.getfloat("DOWNLOAD_TIMEOUT") + 5))
        self._most_retries = settings.getint("RETRY_TIMES")
        self._routes: LocalRoutes = LocalRoutes([*sites])
        if settings.getbool("FRONTIER_ENABLED"):
            keys = Keys(settings["FRONTIER_NAMESPACE"], crawler.spider.name, settings.getint("FRONTIER_SHARDS"))  # type: ignore[union-attr]
            self._routes = SharedRoutes([*sites], Servers.from_settings(settings), keys)
        self._opening: asyncio.Task[None] | None = None
        self._turns: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)
        """To compare, by site and field: of this worker's pages one asks the fleet."""

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        known = getattr(crawler.spider, "sites", {})
        sites = {name: site for name, site in known.items() if site.browser.when == "auto"}
        if not sites:
            raise NotConfigured
        middleware = cls(crawler, sites)
        crawler.signals.connect(middleware.spider_closed, signal=signals.spider_closed)
        return middleware

    async def spider_closed(self) -> None:
        if self._opening is not None:
            await self._routes.close()

    def process_request(self, request: Request) -> Awaitable[None] | None:
        """Choose how the page is asked for first."""
        meta = request.meta
        if AGAIN in meta:
            return None
        meta.pop(ROUTE, None)
        meta.pop(PATTERN, None)
        site = self._site(request)
        if site is None:
            return None
        if self._opening is None:
            self._opening = asyncio.ensure_future(self._routes.open())
        if not self._opening.done():
            return self._begin(request, site, self._opening)
        self._choose(request, site)
        return None

    async def _begin(self, request: Request, site: Site, opening: asyncio.Task[None]) -> None:
        await asyncio.shield(opening)
        self._choose(request, site)

    def _site(self, request: Request) -> Site | None:
        """The request's, where routing has a say in it."""
        meta = request.meta
        if request.method != "GET" or ROBOTS_TXT in meta or "browser" in meta or "playwright" in meta:
            return None
        site = site_of(request, self._crawler.spider)
        return self._sites.get(site.name) if site is not None else None

    def _choose(self, request: Request, site: Site) -> None:
        known = self._routes.known(site.name)
        pattern = known.named(pattern_of(request.url, site))
        request.meta[PATTERN], request.meta[ROUTE] = pattern, known.way_at_once(pattern)

    def process_response(self, request: Request, response: Response) -> Response | Awaitable[Response]:
        """The response, or the browser's in its place."""
        route = request.meta.get(ROUTE)
        if route is None or AGAIN in request.meta:
            return response
        site = self._sites[request.meta["site"]]
        known, pattern = self._routes.known(site.name), request.meta[PATTERN]
        if pattern in known.words:
            return self._ended(request, response, route)
        if route == BROWSER:
            self._routes.note(site.name, Op("pages", field_of(known.main_look(pattern), pattern), 1))
            return self._ended(request, response, route)
        if not (200 <= response.status < 300 and isinstance(response, TextResponse) and is_markup(response)):
            return self._ended(request, response, route)
        if not may_change(response.body):
            if not known.of(pattern, "static").compared:
                self._routes.note(site.name, Op("same", field_of("static", pattern)))
            return self._ended(request, response, route)
        plain = findings_of(response, site, request.url)
        if self._is_enough(site, pattern, plain):
            self._routes.note(site.name, Op("pages", field_of(plain.look, pattern), 1))
            return self._ended(request, response, route)
        return self._look_closer(request, response, site, plain)

    def _is_enough(self, site: Site, pattern: str, plain: Findings) -> bool:
        """Whether a page by HTTP goes on as it is."""
        evidence = self._routes.known(site.name).of(pattern, plain.look)
        return _way_by(evidence, plain) == HTTP and not evidence.is_due(self._slips)

    def _way(self, site: Site, pattern: str, plain: Findings) -> str | None:
        return _way_by(self._routes.known(site.name).of(pattern, plain.look), plain)

    async def _look_closer(self, request: Request, response: TextResponse, site: Site, plain: Findings) -> Response:
        """Compare, or wait for the comparison of another page that tells: of this worker without asking Redis."""
        pattern = request.meta[PATTERN]
        field = field_of(plain.look, pattern)
        way, turn = self._way(site, pattern, plain), self._turns[site.name, field]
        if way is None or (way == HTTP and not turn.locked()):
            with self._aside(request):
                await turn.acquire()
            try:
                if await self._is_ours_to_compare(request, site, plain, field):
                    must_render = self._way(site, pattern, plain) != HTTP
                    return await self._compare(request, response, site, plain, must_render=must_render)
            finally:
                turn.release()
        if self._way(site, pattern, plain) == BROWSER:
            return await self._compare(request, response, site, plain, must_render=True)
        self._routes.note(site.name, Op("pages", field, 1))
        return self._ended(request, response, HTTP)

    async def _is_ours_to_compare(self, request: Request, site: Site, plain: Findings, field: str) -> bool:
        """Whether the fleet leaves it to this page. If not, the way is known: from a comparison of another worker's."""
        pattern = request.meta[PATTERN]
        while not self._is_known(site, pattern, plain):
            is_ours = await self._routes.tell(site.name, Op("claim", field, self._claim_ms))
            if is_ours and not self._is_known(site, pattern, plain):  # Redis has told the fleet's
                return True
            if is_ours:
                await self._routes.tell(site.name, Op("release", field))
            elif self._way(site, pattern, plain) is not None:
                return False
            else:
                with self._aside(request):
                    await asyncio.sleep(_POLL)
        return False

    def _is_known(self, site: Site, pattern: str, plain: Findings) -> bool:
        """Whether nothing needs to be compared: pages that are rendered are."""
        return self._way(site, pattern, plain) == BROWSER or self._is_enough(site, pattern, plain)

    def _aside(self, request: Request) -> AbstractContextManager[None]:
        assert self._crawler.engine is not None
        downloader = self._crawler.engine.downloader
        return downloader.aside(request) if isinstance(downloader, FleetDownloader) else nullcontext()

    async def _compare(
        self, request: Request, response: TextResponse, site: Site, plain: Findings, *, must_render: bool
    ) -> Response:
        field = field_of(plain.look, request.meta[PATTERN])
        try:
            rendered = await self._render(request)
        except Exception as error:
            await self._routes.tell(site.name, Op("release", field))
            self._ended(request, response, FAILED)
            is_last = request.meta.get("retry_times", 0) >= self._most_retries
            if must_render and not (plain.look == "full" and is_last):
                raise
            log.warning("not compared: the browser failed", url=request.url, error=str(error))
            return response
        is_page = rendered.status < 300 and isinstance(rendered, TextResponse) and RENDERED in rendered.flags
        if not is_page:
            await self._routes.tell(site.name, Op("release", field))
            if not must_render or plain.look == "full":
                return self._ended(request, response, FAILED)
            return self._instead(request, rendered, FAILED)
        assert isinstance(rendered, TextResponse)
        is_more = findings_of(rendered, site, request.url).is_more_than(plain)
        await self._routes.tell(site.name, Op("more" if is_more else "same", field))
        if is_more:
            return self._instead(request, rendered, MORE)
        return self._ended(request, response, SAME)

    async def _render(self, request: Request) -> Response:
        """What the browser has in the place of `request`."""
        again = request.replace(meta={**request.meta, ROUTE: BROWSER, AGAIN: request}, dont_filter=True)
        assert self._crawler.engine is not None
        return await self._crawler.engine.download_async(again)

    def _instead(self, request: Request, rendered: Response, route: str) -> Response:
        """The browser's page, as the answer to `request`."""
        assert rendered.request is not None
        for key in _OF_THE_WAY:
            request.meta.pop(key, None)
        request.meta.update((key, value) for key, value in rendered.request.meta.items() if key in _OF_THE_WAY)
        rendered.request = request
        return self._ended(request, rendered, route)

    def _ended(self, request: Request, response: Response, route: str) -> Response:
        request.meta[ROUTE] = route
        metrics.ROUTES.labels(route).inc()
        return response


def _way_by(evidence: Evidence, plain: Findings) -> str | None:
    """Full product pages go on by HTTP until something else is known."""
    way = evidence.way
    return HTTP if way is None and (plain.kind, plain.look) == ("product", "full") else way

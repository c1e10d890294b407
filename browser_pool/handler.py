"""Scrapy's download handler: requests that ask for a browser get one, all others Scrapy's own HTTP.

`meta["browser"]`: True, False, or a dict of rules beside the site's; without it the site's `[browser]` decides.
`meta["playwright"]` is scrapy-playwright's name for True, with its `playwright_page_methods`,
`playwright_page_goto_kwargs` and `playwright_context`.
The page is told of in `meta["rendered_by"]` and `meta["rendered"]`, a `browser_pool.backend.Rendered`.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from scrapy.downloadermiddlewares.cookies import CookiesMiddleware
from scrapy.exceptions import (
    DownloadCancelledError,
    DownloadFailedError,
    DownloadTimeoutError,
    IgnoreRequest,
    NotSupported,
)
from scrapy.utils.misc import build_from_crawler, load_object

from browser_pool.backend import PageTask
from browser_pool.cookies import cookies_of, is_elsewhere, keep
from browser_pool.errors import BrowserError, BrowserTimeout, NotAPage, PageFailed, PageTooLarge, RedirectLoop
from browser_pool.responses import response_of
from browser_pool.shared import SharedPool
from crawlers.bans.finding import WallFinder
from crawlers.bans.signatures import CAPTCHA
from crawlers.browser_rules import asked_of, rules_of
from crawlers.budgets import site_of
from crawlers.domains import domain_of
from crawlers.fetching.dialling import private_address
from crawlers.frontier.sending import DEPARTURE
from crawlers.identity import identity_of
from crawlers.proxies.pool import WAY, ProxyPool
from crawlers.proxies.requested import account_of, requested_proxy
from crawlers.refusals import GivenUp, ProxyFailed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Response
    from scrapy.http.cookies import CookieJar

    from browser_pool.backend import Rendered
    from browser_pool.egress import EgressPort, Place
    from browser_pool.pool import BrowserPool
    from crawlers.browser_rules import BrowserRules
    from crawlers.identity import Identity
    from crawlers.proxies.listing import Proxy

_NOT_SUPPORTED = (
    "playwright_include_page",
    "playwright_page",
    "playwright_page_init_callback",
    "playwright_page_event_handlers",
    "playwright_context_kwargs",
)
"""Of scrapy-playwright's conventions: a page is the pool's, and serves other requests after this one."""

_PORTS = {"http": 80, "https": 443}
_FIRST_FINAL = 200
"""Statuses below are of informational answers, which another one follows."""


class BrowserHandler:
    """One per scheme; both use the worker's one pool."""

    lazy = False

    def __init__(self, crawler: Crawler, plain: Any):
        self._crawler = crawler
        self._plain = plain
        self.waits_for_departure = getattr(plain, "waits_for_departure", False)
        settings: Any = crawler.settings
        self._user_agent = settings["USER_AGENT"]
        self._max_size = settings.getint("DOWNLOAD_MAXSIZE")
        self._walls = WallFinder(crawler)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        plain = load_object(crawler.settings["PLAIN_DOWNLOAD_HANDLER"])
        return cls(crawler, build_from_crawler(plain, crawler))

    async def download_request(self, request: Request) -> Response:
        """The response. A cancellation never leaves as one: the engine would wait for ever."""
        try:
            if (rules := self._rules(request)) is not None:
                with suppress(NotAPage):
                    return await self._by_browser(request, rules)
            return await self._plain.download_request(request)
        except asyncio.CancelledError:
            raise DownloadFailedError("cancelled") from None

    async def close(self) -> None:
        if (pool := SharedPool.closing(self._crawler)) is not None:
            await pool.close()
        await self._plain.close()

    def _rules(self, request: Request) -> BrowserRules | None:
        """What the browser is to do with `request`; None where it gets plain HTTP."""
        site = site_of(request, self._crawler.spider)
        site_rules = site.browser if site is not None else None
        asked = asked_of(request.meta, site_rules)
        if asked is False:
            return None
        try:
            return rules_of(asked, site_rules)
        except ValueError as error:
            raise NotSupported(str(error)) from None

    async def _by_browser(self, request: Request, rules: BrowserRules) -> Response:
        """Raises NotAPage of what a browser would download."""
        pool = SharedPool.of(self._crawler)
        if (way := request.meta.get(WAY)) is None:
            return await self._render(pool, request, rules)
        proxies, failures = ProxyPool.of(self._crawler), (ProxyFailed, DownloadTimeoutError)
        return await proxies.watch(request, lambda: self._render_by(way, pool, request, rules), failures)

    async def _render_by(self, way: Proxy, pool: BrowserPool, request: Request, rules: BrowserRules) -> Response:
        try:
            return await self._render(pool, request, rules)
        finally:
            port = pool.egress.find(self._identity(request).label)
            ProxyPool.of(self._crawler).spend(way, port.received_since() if port is not None else 0)

    async def _render(self, pool: BrowserPool, request: Request, rules: BrowserRules) -> Response:
        task, depart = _departing(self._task(request, rules))
        identity = self._identity(request)
        request.meta.pop("rendered", None)
        request.meta["rendered_by"] = pool.backend.name
        try:
            rendered = await asyncio.shield(asyncio.ensure_future(pool.render(task, identity, depart)))
        except NotAPage:
            del request.meta["rendered_by"]
            raise
        except BrowserTimeout as error:
            raise DownloadTimeoutError(str(error)) from None
        except PageTooLarge as error:
            raise DownloadCancelledError(f"{error} exceeded DOWNLOAD_MAXSIZE") from None
        except RedirectLoop as error:
            raise GivenUp("redirect loop", str(error)) from None
        except PageFailed as error:
            raise _failed(error, error.url or request.url, identity, pool.egress.find(identity.label)) from None
        except BrowserError as error:
            raise DownloadFailedError(f"{type(error).__name__}: {error}") from None
        if rendered.status < _FIRST_FINAL or not rendered.headers:  # Chromium's idea of half a status line is 200
            raise DownloadFailedError("the connection ended before there was an answer")
        self._check_site(request, rendered)
        request.meta["rendered"] = rendered
        if "first_byte" in rendered.timings:
            request.meta["download_latency"] = rendered.timings["first_byte"] / 1000
        if (jar := self._jar(request)) is not None and is_elsewhere(request, rendered.url):
            keep(jar, rendered.url, rendered.cookies)
        return response_of(request, rendered, task.cookies)

    def _jar(self, request: Request) -> CookieJar | None:
        """Scrapy's, with what the browser is to send; None where the request brings its cookies itself."""
        if request.meta.get("dont_merge_cookies"):
            return None
        cookies: Any = self._crawler.get_downloader_middleware(CookiesMiddleware)
        if cookies is None:
            return None
        jar: CookieJar = cookies.jars[request.meta.get("cookiejar")]
        return jar

    def _task(self, request: Request, rules: BrowserRules) -> PageTask:
        meta = request.meta
        if request.method != "GET":
            raise NotSupported(f"{request.method} with a browser: expected GET")
        for key in _NOT_SUPPORTED:
            if meta.get(key):
                raise NotSupported(f'meta["{key}"]: a page of the pool is not lent')
        referer = request.headers.get("Referer") or b""
        return PageTask(
            request.url,
            rules,
            timeout=float(meta.get("download_timeout") or self._crawler.settings.getfloat("DOWNLOAD_TIMEOUT")),
            max_bytes=int(meta.get("download_maxsize", self._max_size)),
            referer=referer.decode("latin-1"),
            cookies=cookies_of(request, self._jar(request)),
            methods=_methods(meta.get("playwright_page_methods")),
            goto=dict(meta.get("playwright_page_goto_kwargs") or {}),
            is_evidence=lambda rendered: self._is_captcha(request, rendered),
        )

    def _is_captcha(self, request: Request, rendered: Rendered) -> bool:
        """Whether the middleware will find one, when its page is no longer there to be photographed."""
        wall = self._walls.find(request, response_of(request, rendered, ()))
        return wall is not None and wall.kind == CAPTCHA

    def _identity(self, request: Request) -> Identity:
        """With the proxy that was chosen, or that the request brings: each has a context of its own."""
        identity = identity_of(request, self._user_agent)
        way: Proxy | None = request.meta.get(WAY)
        if way is not None:
            return _by(way, way.label, identity) if way.url else identity
        try:
            own = requested_proxy(request)
        except ValueError as error:
            raise NotSupported(str(error)) from None
        return _by(own, account_of(own), identity) if own is not None else identity

    def _check_site(self, request: Request, rendered: Rendered) -> None:
        """A browser follows redirects by itself: one that leaves the site is refused here."""
        site = site_of(request, self._crawler.spider)
        if site is not None and not site.owns(rendered.url):
            raise IgnoreRequest(f"Filtered offsite request to {domain_of(rendered.url)!r}")


def _by(way: Proxy, name: str, identity: Identity) -> Identity:
    return replace(identity, label=f"{identity.label}@{name}", proxy=way.secret_url, proxy_label=way.label)


def _failed(error: PageFailed, url: str, identity: Identity, port: EgressPort | None) -> Exception:
    """What Scrapy is told of a page that last led to `url`: the egress knows of the network what browsers do not."""
    place = _place(url)
    if port is not None and (why := port.refusals.get(place)):
        return private_address(f"{place[0]}: {why}")
    why = port.failures.get(place) if port is not None else None
    if why and identity.proxy:
        return ProxyFailed(f"{identity.proxy_label}: {why}")
    return DownloadFailedError(why or f"{type(error).__name__}: {error}")


def _place(url: str) -> Place:
    parts = urlsplit(url)
    with suppress(ValueError):  # of a port that is none
        return parts.hostname or "", parts.port or _PORTS[parts.scheme]
    return parts.hostname or "", 0


def _methods(given: Any) -> tuple[Any, ...]:
    """scrapy-playwright takes a list, or a dict whose values are meant."""
    return tuple(given.values() if isinstance(given, dict) else given or ())


def _departing(task: PageTask) -> tuple[PageTask, Callable[[], Awaitable[None]] | None]:
    """What the task waits for with its tab, where its domain has a delay; the frontier hears when it was asked for."""
    if (departure := DEPARTURE.get()) is None:
        return task, None
    loop = asyncio.get_running_loop()
    return replace(task, on_asked=lambda: loop.call_soon_threadsafe(departure.left)), departure.leave

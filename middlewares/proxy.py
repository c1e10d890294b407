"""Chooses the proxy of each request. Whoever sends the request goes through it; its credentials are in no request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from scrapy import signals
from scrapy.exceptions import NotConfigured

from crawlers.bans.hooks import ban_detected
from crawlers.browser_rules import asked_of
from crawlers.budgets import site_of
from crawlers.domains import domain_of
from crawlers.proxies.listing import DIRECT, DIRECTLY, is_configured
from crawlers.proxies.pool import JAR, WAY, ProxyPool, Wanted, label_of
from middlewares.identity import IdentityMiddleware

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Response

    from crawlers.site_config import Site


class ProxyMiddleware:
    """Sets `meta["proxy_choice"]`, and `meta["proxy_label"]` for the record.

    Sessions and browser-like identities keep their proxy; where that can no longer be used, the identity ends with it.
    A bot's cookies go back by the proxy that they came by, while that is one of those that may be taken.
    `meta["use_proxy"]` names a proxy, a tier or "direct"; a request that brings its own `meta["proxy"]` keeps it.
    """

    def __init__(self, crawler: Crawler):
        self._crawler = crawler
        self._pool = ProxyPool.of(crawler)
        self._everything = Wanted()
        self._has_cookies = crawler.settings.getbool("COOKIES_ENABLED")
        self._by_site = {name: _wanted(site) for name, site in getattr(crawler.spider, "sites", {}).items()}
        for name, wanted in self._by_site.items():
            self._pool.check(wanted, f"{name}.toml: proxies")

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        if not is_configured(crawler.settings):
            raise NotConfigured
        middleware = cls(crawler)
        crawler.signals.connect(middleware.on_ban, signal=ban_detected)
        crawler.signals.connect(middleware.engine_started, signal=signals.engine_started)
        crawler.signals.connect(middleware.spider_closed, signal=signals.spider_closed)
        return middleware

    def engine_started(self) -> None:
        self._pool.open()

    async def spider_closed(self) -> None:
        await self._pool.close()

    def process_request(self, request: Request) -> Awaitable[None] | None:
        """Choose. Raises NoProxy where none may be used now."""
        if "proxy" in request.meta:
            request.meta.pop(WAY, None)
        elif self._pool.is_new(domain := domain_of(request.url)):
            return self._ask(request, domain)
        else:
            self._choose(request, domain)
        return None

    async def _ask(self, request: Request, domain: str) -> None:
        await self._pool.hear_of(domain)
        self._choose(request, domain)

    def _choose(self, request: Request, domain: str) -> None:
        meta = request.meta
        meta.pop(JAR, None)
        site = site_of(request, self._crawler.spider)
        wanted = self._by_site.get(site.name, self._everything) if site is not None else self._everything
        name = meta.get("use_proxy")
        if name and name != DIRECT:
            wanted = self._pool.asked_for(str(name))
        meta[WAY] = way = DIRECTLY if name == DIRECT else self._of_session(request, site, domain, wanted)
        if label := label_of(way):
            meta["proxy_label"] = label
        else:
            meta.pop("proxy_label", None)

    def process_response(self, request: Request, response: Response) -> Response:
        """What comes this far was no wall."""
        self._pool.judged(request)
        return response

    def on_ban(self, request: Request) -> None:
        """Whom the site has shown a wall is left out there for a while."""
        self._pool.judged(request, is_wall=True)

    def _of_session(self, request: Request, site: Site | None, domain: str, wanted: Wanted) -> Any:
        session = self._session(request, site, domain)
        if not session:
            request.meta[JAR] = jar = self._jar(request, domain)
            return self._pool.choose(domain, wanted, jar=jar)
        if (way := self._pool.of_session(session, domain, wanted)) is not None:
            return way
        if "identity_label" in request.meta and self._pool.has_session(session):
            identities: Any = self._crawler.get_downloader_middleware(IdentityMiddleware)
            identities.renew(request)
            session = self._session(request, site, domain)
        return self._pool.choose(domain, wanted, session)

    def _jar(self, request: Request, domain: str) -> str:
        """Of a bot's cookies, which a site is to see from where it set them."""
        return f"{domain} cookies" if self._has_cookies and not request.meta.get("dont_merge_cookies") else ""

    def _session(self, request: Request, site: Site | None, domain: str) -> str:
        """Who keeps a proxy: an identity, a session; a bot in the browser, whose contexts are costly."""
        meta = request.meta
        if label := meta.get("identity_label"):
            return str(label)
        group = site.name if site is not None else domain
        if (name := meta.get("session", meta.get("cookiejar"))) is not None:
            return f"{group} {name}"
        is_rendered = asked_of(meta, site.browser if site is not None else None) is not False
        return f"{group} rendered" if is_rendered else ""


def _wanted(site: Site) -> Wanted:
    return Wanted(site.proxies.tiers, site.proxies.region)

"""product_spider: shops to products."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import structlog
from scrapy import Request, Spider
from scrapy.http import Response, TextResponse

from crawlers.exceptions import UserError
from crawlers.items import Product
from crawlers.lineage import Lineage, crawl_id_of
from crawlers.links import absolute
from crawlers.outcomes import note_filtered, note_known_child, note_refused_child
from crawlers.reading import PageReading, is_markup
from crawlers.sitemaps import NotASitemap, read_sitemap
from crawlers.targets import Targets, read_targets

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from scrapy.crawler import Crawler
    from twisted.python.failure import Failure

    from crawlers.extraction import Extraction
    from crawlers.site_config import Site

log = structlog.get_logger("seine.spider")


class ProductSpider(Spider):
    """Crawls the sites of SITES_DIR (`-a sites=a,b`), or just the URLs of `-a urls=URL,URL|@FILE`.

    With `-a follow=1` it also follows links inside the domains of the URLs given.
    """

    name = "product_spider"
    crawl_id: str
    lineage: Lineage
    max_size: int

    def __init__(self, targets: Targets, **kwargs: Any):
        super().__init__(**kwargs)
        self.targets = targets
        self.sites = targets.sites if targets.follow else {}
        self.follows = targets.follow
        """Whether links are followed; the crawl that is joined may say otherwise."""
        self.follows_strangers = False
        """Whether links are followed on pages of no known site, inside their domain."""
        self.seeded_sites: frozenset[str] | None = None
        """The sites whose seeds the next `start()` yields; None is all."""
        self.is_known: Callable[[str], bool] = lambda url: False
        """Whether a request for a URL is certainly not new; the frontier's to say."""

    @classmethod
    def from_crawler(cls, crawler: Crawler, *args: Any, **kwargs: Any) -> Self:
        asked = {key: kwargs.pop(key, None) for key in ("sites", "urls", "follow")}
        if kwargs:
            raise UserError(f"unknown argument -a {next(iter(kwargs))}=: expected sites, urls or follow")
        targets = read_targets(crawler.settings["SITES_DIR"], **asked)
        spider = super().from_crawler(crawler, *args, targets=targets, **kwargs)
        spider.crawl_id = crawl_id_of(crawler)
        spider.lineage = Lineage(crawler, spider)
        spider.max_size = crawler.settings.getint("DOWNLOAD_MAXSIZE")
        crawler.settings.set("DOWNLOAD_SLOTS", _slots(targets, crawler.settings), priority="spider")
        return spider

    async def start(self) -> AsyncIterator[Any]:
        for url in self.targets.urls:
            yield self.request_for(url)
        if self.targets.urls:
            return
        for name, site in self.sites.items():
            if self.seeded_sites is not None and name not in self.seeded_sites:
                continue
            for url in site.sitemaps:
                yield self._sitemap_request(url, site)
            for url in site.seeds:
                yield self._request(url, site)

    def request_for(self, url: str) -> Request:
        """The request for a URL that was given, not found."""
        return self._request(url, self.targets.site_of(url))

    def parse_sitemap(self, response: Response) -> Iterator[Request]:
        """Requests for what a sitemap lists and its site wants."""
        site = self._site(response)
        try:
            sitemaps, pages = read_sitemap(response, self.max_size)
        except NotASitemap as error:
            log.warning("not a sitemap", url=response.url, why=str(error))
            note_filtered("not a sitemap")
            return
        for url in sitemaps:
            if site.owns(url):
                yield self._sitemap_request(url, site)
        yield from self._wanted(absolute(response.url, pages), site, depth=0)

    def parse(self, response: Response, **kwargs: Any) -> Iterator[Request | Product]:
        """The product that a page shows, and requests for the links worth following.

        `scrapy check` runs this contract on the demo shop:

        @url http://127.0.0.1:18100/p/ridge-tunnel-tent-lf-10007
        @returns items 1 1
        @returns requests 0
        @scrapes name sku price currency url identity record_id
        """
        if not response.body.strip():
            return
        if not isinstance(response, TextResponse) or not is_markup(response):
            note_filtered("content type")
            return
        site = self._site(response)
        reading = PageReading(response, site)
        if self._may_hold_product(response.url, site) and reading.extraction.product is not None:
            yield self._product(reading.extraction, response, site)
        if self.follows and (site.name in self.sites or self.follows_strangers):
            yield from self._wanted(reading.links, site, depth=response.meta.get("depth", 0))

    def parse_gone(self, response: Response, site: str, identity: str, remembered: bytes) -> Iterator[Product]:
        """The last record of a product that crawls of its site have not seen for long enough; see crawlers/changes."""
        item = self.lineage.stamp(Product(url="", canonical_url="", name="", change="gone"), response)
        item.site, item.identity = site, identity
        item.http_status, item.content_hash = 0, ""
        item.content = item.content_type = item.screenshot = None
        yield item

    def on_error(self, failure: Failure) -> None:
        """A request that failed for good: its outcome event tells it, so nothing is left to say or do here."""

    def _site(self, response: Response) -> Site:
        return self.sites.get(response.meta.get("site", "")) or self.targets.site_of(response.url)

    def _may_hold_product(self, url: str, site: Site) -> bool:
        return bool(self.targets.urls) or not self.follows or site.product.match(url)

    def _wanted(self, urls: list[str], site: Site, depth: int) -> Iterator[Request]:
        for url in urls:
            if not site.wants(url):
                continue
            if site.limits.depth and depth >= site.limits.depth:
                note_refused_child("depth")
            elif self.is_known(url):
                note_known_child()
            else:
                yield self._request(url, site)

    def _sitemap_request(self, url: str, site: Site) -> Request:
        request = self._request(url, site, callback=self.parse_sitemap, priority=1)
        if site.browser.when != "never":
            request.meta["browser"] = False
        return request

    def _request(self, url: str, site: Site, **kwargs: Any) -> Request:
        meta = {"site": site.name} if site.name in self.sites else {}
        return Request(url, errback=self.on_error, meta=meta, **kwargs)

    def _product(self, extraction: Extraction, response: Response, site: Site) -> Product:
        fields = dict(extraction.product or {})
        fields["canonical_url"] = extraction.canonical_url or response.url
        fields.setdefault("name", "")
        item = Product(url=response.url, **fields)
        item.site = site.name
        item.identity = _identity(item, site)
        return self.lineage.stamp(item, response)


def _identity(item: Product, site: Site) -> str:
    if site.identity == "url":
        return item.canonical_url
    return getattr(item, site.identity) or ""


def _slots(targets: Targets, settings: Any) -> dict[str, dict[str, Any]]:
    """Scrapy's DOWNLOAD_SLOTS of the sites' limits, by the name that SiteMiddleware charges requests to."""
    slots: dict[str, dict[str, Any]] = dict(settings.getdict("DOWNLOAD_SLOTS"))
    for site in targets.sites.values():
        limits = {"delay": site.limits.delay, "concurrency": site.limits.concurrency}
        own = {key: value for key, value in limits.items() if value is not None}
        for name in [site.name] if site.limits.shared else site.domains:
            slots[name] = {"jitter": 0, **own}
    return slots

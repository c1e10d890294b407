"""Keeps requests inside their site and its page limit, and charges each to its domain's budget."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from scrapy.downloadermiddlewares.offsite import OffsiteMiddleware
from scrapy.exceptions import IgnoreRequest

from crawlers.domains import domain_of

if TYPE_CHECKING:
    from scrapy import Request


class SiteMiddleware(OffsiteMiddleware):
    """Offsite by host *and port*, per request: one with `meta["site"]` stays in that site's domains.

    A redirect copies its request's meta, so it is held to the same domains.
    """

    def __init__(self, stats: Any):
        super().__init__(stats)
        self._pages: Counter[str] = Counter()

    def should_follow(self, request: Request, spider: Any) -> bool:
        site = _site(request, spider)
        return site is None or site.owns(request.url)

    def request_scheduled(self, request: Request, spider: Any) -> None:
        """Refuse what is offsite before it is queued; budgets are for what is fetched."""
        super().process_request(request)

    def process_request(self, request: Request, spider: Any = None) -> None:
        """Refuse what is offsite, and name the download slot after the domain that is asked."""
        super().process_request(request)
        site = _site(request, self.crawler.spider)
        if site is not None:
            self._count(request, site)
        request.meta["download_slot"] = site.slot(request.url) if site else domain_of(request.url)

    def _count(self, request: Request, site: Any) -> None:
        if request.meta.get("retry_times"):
            return
        if site.limits.pages and self._pages[site.name] >= site.limits.pages:
            raise IgnoreRequest("page limit")
        self._pages[site.name] += 1


def _site(request: Request, spider: Any) -> Any:
    name = request.meta.get("site")
    return getattr(spider, "sites", {}).get(name) if name else None

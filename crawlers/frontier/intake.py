"""How a spider's requests become the frontier's: what they are known by, what they are charged to, what limits them."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING
from urllib.parse import quote

from scrapy import Request
from scrapy.utils.request import RequestFingerprinter

from crawlers.budgets import budget_of, budgets_of, site_of
from crawlers.fingerprints import QuickFingerprinter
from crawlers.frontier.codec import RequestCodec
from crawlers.frontier.fingerprints import PROJECT, fingerprinting
from crawlers.frontier.leases import NewRequest

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

    from crawlers.changes.gone import Missing
    from crawlers.frontier.keys import Keys

PRIORITIES = 2**16 - 1
"""Priorities beyond this, either way, are as this one."""


class Intake:
    """Makes new requests of one crawl after the other."""

    def __init__(self, crawler: Crawler, keys: Keys):
        assert crawler.spider is not None
        self._crawler = crawler
        self._spider = crawler.spider
        self._keys = keys
        self._domain_pages = crawler.settings.getint("FRONTIER_DOMAIN_PAGES")
        self.codec = RequestCodec(crawler.spider)
        self.fingerprint_by(PROJECT)

    def fingerprint_by(self, formula: str) -> None:
        """Requests are known for the same by this formula from now on."""
        self.fingerprint = fingerprinting(self._crawler, formula)
        own = self._crawler.request_fingerprinter
        self._is_plain_fingerprint = formula != PROJECT or type(own) in (RequestFingerprinter, QuickFingerprinter)

    def is_plain(self, request: Request) -> bool:
        """Whether the URL is all that it is known by."""
        return request.method == "GET" and not request.body and self._is_plain_fingerprint

    def new(self, request: Request, *, is_seed: bool, is_filtered: bool, scope: str) -> NewRequest:
        """It under its fingerprint; under an id of its own where it is not to be filtered."""
        fingerprint = self.fingerprint(request)[:8]
        id_ = fingerprint if is_filtered else secrets.token_bytes(8)
        original = b"" if is_filtered else fingerprint
        return self.charged(request, self.codec.encode(request), id_, original, is_seed=is_seed, scope=scope)

    def charged(
        self,
        request: Request,
        data: bytes,
        id_: bytes,
        original: bytes = b"",
        revived: int = 0,
        *,
        is_seed: bool,
        scope: str = "",
    ) -> NewRequest:
        """It with what it is charged to, and its place; `data` are its bytes."""
        budget = budget_of(request, self._spider)
        group, limit = self._page_limit(request, budget)
        priority = max(-PRIORITIES, min(PRIORITIES, request.priority))
        return NewRequest(
            id_, decimal(id_), budget, priority, data, int(is_seed), group, limit, original, revived, scope
        )

    def of_gone(self, product: Missing, domain: str) -> NewRequest:
        """A request with nothing to fetch."""
        named = {"site": product.site, "identity": product.identity, "remembered": product.remembered}
        url = f"data:,{quote(f'{product.site}/{product.identity}', safe='')}"
        request = Request(url, callback=self._spider.parse_gone, cb_kwargs=named)  # type: ignore[attr-defined]
        id_ = self.fingerprint(request)[:8]
        return NewRequest(id_, decimal(id_), domain, 0, self.codec.encode(request), 0, domain, 0)

    def _page_limit(self, request: Request, budget: str) -> tuple[str, int]:
        """(what is counted, how many): of the site, whose domains' shards take a share each, or of the domain."""
        site = site_of(request, self._spider)
        if site is None or not site.limits.pages:
            return budget, self._domain_pages
        return site.name, -(-site.limits.pages // len({self._keys.shard_of(name) for name in budgets_of(site)}))


def decimal(id_: bytes) -> str:
    """As NewRequest.fingerprint."""
    return str(int.from_bytes(id_, "big", signed=True))

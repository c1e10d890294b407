"""Without Redis, judges what a crawl of this one process came to: by what needs no history."""

from __future__ import annotations

from collections import Counter
from time import time
from typing import TYPE_CHECKING, Any, Self

from scrapy import signals
from scrapy.exceptions import NotConfigured

from crawlers.bans.hooks import ban_detected
from crawlers.bans.signatures import KINDS
from crawlers.budgets import site_of
from crawlers.monitors import telling
from crawlers.monitors.counting import notes_of
from crawlers.monitors.judging import judged
from crawlers.monitors.prices import PriceSample
from crawlers.monitors.result import SiteResult, result_of
from crawlers.monitors.tally import Tally
from crawlers.monitors.webhook import Webhook

if TYPE_CHECKING:
    from scrapy import Request, Spider
    from scrapy.crawler import Crawler

    from crawlers.outcomes import RequestRecord

_MISSING = ("http 404", "http 410")


class OwnMonitors:
    """Counts as lua/tallies.lua does. RequestOutcomes tells it of every request that ends."""

    def __init__(self, crawler: Crawler):
        self._crawler = crawler
        self._tallies: dict[str, Tally] = {}
        self._began = 0.0
        self._webhook = Webhook.from_settings(crawler.settings)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        settings = crawler.settings
        if not settings.getbool("MONITORS") or not settings.getbool("OWN_MONITORS"):
            raise NotConfigured("this is no crawl, or the frontier's workers do it together")
        extension = cls(crawler)
        crawler.signals.connect(extension.spider_opened, signal=signals.spider_opened)
        crawler.signals.connect(extension.spider_closed, signal=signals.spider_closed)
        crawler.signals.connect(extension.met_wall, signal=ban_detected)
        return extension

    def spider_opened(self, spider: Spider) -> None:
        """Only a crawl of sites is one; given URLs are some pages."""
        self._began = time()
        targets = getattr(spider, "targets", None)
        if targets is not None and not targets.urls:
            self._tallies = {name: Tally() for name in targets.sites}

    def met_wall(self, request: Request) -> None:
        """An attempt has met one."""
        site = site_of(request, self._crawler.spider)
        if site is not None and site.name in self._tallies:
            self._tallies[site.name].requests["walls"] += 1

    def ended(self, record: RequestRecord, outcome: str, reason: str) -> None:
        """A request has come to an end, or to another attempt."""
        site = site_of(record.request, self._crawler.spider) if self._tallies else None
        if site is None or site.name not in self._tallies or outcome == "pending":
            return
        if outcome == "retried":
            return
        requests: Counter[str] = self._tallies[site.name].requests
        if outcome == "dead" and reason in KINDS:
            requests["walls"] -= 1  # it is one of the dead
        requests["ended" if outcome != "dead" else "missing" if reason in _MISSING else "dead"] += 1
        for note in notes_of(record, outcome, reason, self._tallies):
            self._tallies[str(note[2])].add(note)

    async def spider_closed(self, spider: Any, reason: str) -> None:
        """A crawl that was cut short says nothing of its sites."""
        if reason != "finished" or not self._tallies:
            return
        results = [self._judged(spider, name, tally) for name, tally in self._tallies.items()]
        for result in results:
            telling.tell(result)
        telling.count(self._crawler.stats, results)
        if self._webhook is not None:
            await self._webhook.post(spider.name, results)

    def _judged(self, spider: Any, name: str, tally: Tally) -> SiteResult:
        now, rules = time(), spider.targets.sites[name].monitors
        sample = PriceSample().after(tally)
        about: dict[str, Any] = {"crawl_id": spider.crawl_id, "ended_at": now, "seconds": now - self._began}
        return judged(result_of(tally, sample.facts(PriceSample(), 0.0), site=name, **about), [], rules)

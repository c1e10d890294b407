"""With EMIT=changes, lets those products through that are not what they were in the last crawl."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from scrapy.exceptions import DropItem, NotConfigured

from crawlers.changes import notes
from crawlers.changes.fingerprints import FIELDS, differing, fingerprints
from crawlers.changes.memory import ProductMemory, Unanswered
from crawlers.changes.options import emits_changes
from crawlers.exceptions import UserError
from crawlers.outcomes import CURRENT
from pipelines.producer import Undelivered
from pipelines.topics import products_topic

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

    from crawlers.items import Product
    from crawlers.outcomes import RequestRecord


class Unchanged(DropItem):
    """The topic holds the product as it is."""


class ChangesPipeline:
    """Says of each product whether it is new, changed or unchanged, and raises Unchanged where no record is needed.

    What is remembered is noted with the request, and written when that settles as delivered: a product whose worker
    dies before is told again.
    """

    def __init__(self, memory: ProductMemory, ignored: set[str], intervals: dict[str, float]):
        self._memory = memory
        self._ignored = ignored
        self._intervals = intervals
        """Seconds from one crawl of a site to the next, where they are known."""

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        settings = crawler.settings
        if not emits_changes(settings):
            raise NotConfigured("EMIT is not changes")
        ignored = set(settings.getlist("CHANGES_IGNORE"))
        if unknown := sorted(ignored - set(FIELDS)):
            raise UserError(f"CHANGES_IGNORE={unknown[0]}: expected some of {', '.join(FIELDS)}")
        targets = getattr(crawler.spider, "targets", None)
        intervals = {site.name: site.interval for site in targets.sites.values()} if targets else {}
        memory = ProductMemory.of(crawler)
        memory.topic = products_topic(settings)
        return cls(memory, ignored, intervals)

    async def process_item(self, item: Product) -> Product:
        """`item` with its change. Raises Unchanged, Undelivered where the worker closes and Redis is away."""
        request = CURRENT.get()
        if request is None or request.lease is None:
            return item
        try:
            value = await self._memory.recall(request.lease.shard, item.site, notes.product_key(item.identity))
        except Unanswered as error:
            raise Undelivered(str(error)) from None
        if item.change == "gone":
            self._confirm_gone(item, value, request)
        else:
            self._compare(item, notes.Remembered.read(value) if value else None, request)
        return item

    def _confirm_gone(self, item: Product, value: bytes | None, request: RequestRecord) -> None:
        if value is None or value != request.request.cb_kwargs["remembered"]:
            raise Unchanged("told before, or seen since")
        request.notes.append(notes.gone(self._memory.topic.id, item.site, item.identity, value))

    def _compare(self, item: Product, before: notes.Remembered | None, request: RequestRecord) -> None:
        now, prints = time.time(), fingerprints(item)
        if before is None:
            item.change = "new"
        else:
            item.changed_fields = [name for name in differing(before.fingerprints, prints) if name not in self._ignored]
            item.change = "changed" if item.changed_fields else "unchanged"
            if item.change == "unchanged" and not self._must_be_repeated(item, before, now):
                self._note(request, item, before.hour, prints)
                raise Unchanged("as in its last record")
        self._note(request, item, notes.hour_of(now), prints)

    def _note(self, request: RequestRecord, item: Product, hour: int, prints: bytes) -> None:
        topic = self._memory.topic
        request.notes.append(notes.seen(topic.id, item.site, item.identity, hour, prints, topic.life))

    def _must_be_repeated(self, item: Product, before: notes.Remembered, now: float) -> bool:
        """Whether half of the topic's retention may have passed since its last record when it is seen next."""
        return self._memory.topic.seconds_left(before, now) <= self._intervals.get(item.site, 0.0)

    async def close_spider(self) -> None:
        await self._memory.close()

"""Visits of pages that were there before: how they are asked for, and what is remembered when they end."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self
from weakref import WeakKeyDictionary

from crawlers.changes import notes, pages
from crawlers.changes.memory import ProductMemory
from crawlers.changes.notes import Note, Remembered
from crawlers.changes.pages import Page
from crawlers.identity import identity_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Headers

    from crawlers.outcomes import RequestRecord
    from crawlers.site_config import Site

_GONE = (404, 410)
"""Statuses that say that a page is not there; any other error says nothing of its product."""


@dataclass
class Visit:
    """A request for a page of a site, and what is remembered of both."""

    id: bytes
    site: Site
    page: Page | None
    product: Remembered | None


class Visits:
    """Those that are under way in this worker."""

    _shared: ClassVar[WeakKeyDictionary[Crawler, Visits]] = WeakKeyDictionary()

    def __init__(self, memory: ProductMemory, gone_after: int):
        self._memory = memory
        self._most_skips = min(gone_after - 1, pages.ALWAYS - 1)
        """A product is gone after one crawl more: a page that it may be linked from is read before."""
        self._under_way: dict[Request, Visit] = {}

    @classmethod
    def of(cls, crawler: Crawler) -> Self:
        """The one of `crawler`'s process."""
        if crawler not in cls._shared:
            gone_after = crawler.settings.getint("CHANGES_GONE_AFTER")
            cls._shared[crawler] = cls(ProductMemory.of(crawler), gone_after)
        return cls._shared[crawler]  # type: ignore[return-value]

    async def begin(self, request: Request, lease: Any, site: Site) -> dict[str, bytes]:
        """The headers by which an unchanged page need not be sent: none for a browser-like identity, which cannot know
        what the site has told another visitor. Raises Unanswered.
        """
        page, product = await self._memory.revisit(lease.shard, site.name, lease.id)
        visit = Visit(lease.id, site, Page.read(page) if page else None, Remembered.read(product) if product else None)
        self._under_way[request] = visit
        if visit.page is None or visit.product is None or not visit.page.left or not site.changes.conditional:
            return {}
        if identity_of(request, "").is_browser_like:
            return {}
        return visit.page.conditions() if self._memory.seconds_left(site.name, visit.product) > 0 else {}

    def end(self, request: Request, record: RequestRecord, outcome: str) -> Sequence[Note]:
        """What the settlement of a request writes down: also of one that died what its other items have told."""
        visit = self._under_way.pop(request, None)
        if outcome in ("pending", "retried"):
            return ()
        told = list(record.notes.values())
        if visit is None:
            return told
        if outcome == "dead":
            return [*self._vouch(visit, record.status), *told]
        if outcome == "delivered" and record.status == 304:
            return self._skip(visit)
        if outcome == "delivered" and record.headers is not None and [note[0] for note in told] == ["seen"]:
            return [*told, self._read(visit, told[0], record.headers)]
        return told

    def _vouch(self, visit: Visit, status: int) -> Sequence[Note]:
        """A page that could not be had says nothing of its product, nor, unless it may be skipped, of its links."""
        if visit.page is None or status in _GONE:
            return ()
        topic, site, page = self._memory.topic.id, visit.site.name, visit.page
        if page.left:
            return [notes.skipped(topic, site, visit.id, page.due, page.interval)]
        return [notes.vouched(topic, site, page.product)]

    def _skip(self, visit: Visit) -> Sequence[Note]:
        if visit.page is None or visit.product is None:
            return ()
        due, interval = self._next(visit.site, visit.page, visit.product, has_changed=False)
        return [notes.skipped(self._memory.topic.id, visit.site.name, visit.id, due, interval)]

    def _read(self, visit: Visit, seen: Note, headers: Headers) -> Note:
        """Of a page that was sent, with the note of its one product."""
        _, topic, site, product, remembered, *_ = seen
        now = Remembered.read(b"\0\0" + remembered)  # type: ignore[operator]
        has_changed = visit.product is None or now.fingerprints != visit.product.fingerprints
        due, interval = self._next(visit.site, visit.page, now, has_changed=has_changed)
        left = pages.ALWAYS if visit.site.changes.leaves else self._most_skips
        page = Page(due, interval, left, product, *pages.validators(headers))  # type: ignore[arg-type]
        return notes.page(topic, site, visit.id, page.to_bytes())  # type: ignore[arg-type]

    def _next(self, site: Site, page: Page | None, product: Remembered, *, has_changed: bool) -> tuple[int, int]:
        """(when the page is due, the interval): half as long after a change, else twice, within the site's bounds.

        It is due before the product's record must be repeated.
        """
        now, bounds = time.time(), site.changes
        interval = bounds.min_interval
        if page is not None:
            interval = page.interval / 2 if has_changed else page.interval * 2
        interval = max(bounds.min_interval, min(bounds.max_interval, interval))
        left = self._memory.seconds_left(site.name, product)
        return int(now + max(0.0, min(interval, left))), int(interval)

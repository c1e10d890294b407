"""With EMIT=changes, lets those products through that are not what they were in the last crawl."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Self

from scrapy.exceptions import DropItem, NotConfigured

from crawlers.changes import notes
from crawlers.changes.fingerprints import FIELDS, differing, fingerprints
from crawlers.changes.memory import ProductMemory, Unanswered
from crawlers.changes.options import emits_changes
from crawlers.exceptions import UserError
from crawlers.items import Product
from crawlers.outcomes import CURRENT
from pipelines.producer import Undelivered

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

    from crawlers.outcomes import RequestRecord


class Unchanged(DropItem):
    """The topic holds the product as it is."""


class ChangesPipeline:
    """Says of each product whether it is new, changed or unchanged, and raises Unchanged where no record is needed.

    What is remembered is noted with the request, and written when that settles: a product whose worker dies before is
    told again, and so is one whose item comes to nothing, see `vouch_for`.
    """

    def __init__(self, memory: ProductMemory, ignored: set[str]):
        self._memory = memory
        self._ignored = ignored

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        settings = crawler.settings
        if not emits_changes(settings):
            raise NotConfigured("EMIT is not changes")
        ignored = set(settings.getlist("CHANGES_IGNORE"))
        if unknown := sorted(ignored - set(FIELDS)):
            raise UserError(f"CHANGES_IGNORE={unknown[0]}: expected some of {', '.join(FIELDS)}")
        return cls(ProductMemory.of(crawler), ignored)

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
        request.notes[item.site, item.identity] = notes.gone(self._memory.topic.id, item.site, item.identity, value)

    def _compare(self, item: Product, before: notes.Remembered | None, request: RequestRecord) -> None:
        prints = fingerprints(item)
        if before is None:
            item.change = "new"
        else:
            item.changed_fields = [name for name in differing(before.fingerprints, prints) if name not in self._ignored]
            item.change = "changed" if item.changed_fields else "unchanged"
            if item.change == "unchanged" and self._memory.seconds_left(item.site, before) > 0:
                self._note(request, item, before.hour, prints)
                raise Unchanged("as in its last record")
        self._note(request, item, notes.hour_of(time.time()), prints)

    def _note(self, request: RequestRecord, item: Product, hour: int, prints: bytes) -> None:
        topic = self._memory.topic
        told = notes.seen(topic.id, item.site, item.identity, hour, prints, topic.life)
        request.notes[item.site, item.identity] = told

    async def close_spider(self) -> None:
        await self._memory.close()


def vouch_for(item: Any, topic: str) -> None:
    """An item comes to nothing: its product counts as seen, and what is remembered stays. A gone one is told again."""
    if (known := _known(item)) is None:
        return
    request, about = known
    request.notes.pop(about, None)
    if item.change != "gone":
        request.notes[about] = notes.vouched(topic, item.site, notes.product_key(item.identity))


def outdate(item: Any, topic: str) -> None:
    """A record was compared with nothing, though others of its topic are: what is remembered is no longer there."""
    if (known := _known(item)) is not None:
        request, about = known
        request.notes[about] = notes.forgotten(topic, *about)


def _known(item: Any) -> tuple[RequestRecord, tuple[str, str]] | None:
    """The request and the product of an item; None where its identity is what made it come to nothing."""
    request = CURRENT.get()
    if request is None or request.lease is None or not isinstance(item, Product):
        return None
    try:
        f"{item.site}/{item.identity}".encode()
    except UnicodeEncodeError:
        return None
    is_named = isinstance(item.site, str) and isinstance(item.identity, str)
    return (request, (item.site, item.identity)) if is_named else None

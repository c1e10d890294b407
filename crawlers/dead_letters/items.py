"""Items through the item pipelines again, as these are now, without fetching their pages."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any, NamedTuple, Self, get_type_hints

import msgspec
from scrapy import Request
from scrapy.exceptions import DropItem
from scrapy.utils.misc import build_from_crawler, load_object

from crawlers.changes.replays import ReplayedProducts
from crawlers.domains import is_web_url
from crawlers.frontier.idle_crawler import idle_crawler, with_spider
from crawlers.items import Product
from crawlers.outcomes import CURRENT, RequestRecord
from pipelines.dead_letter import DeadLetters
from pipelines.delivery import AT_LEAST_ONCE, Delivery

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crawlers.dead_letters.letter import Letter
    from crawlers.exceptions import RejectedRecord
    from pipelines.producer import Record

DELIVERED, DEAD_AGAIN, DROPPED, NO_ITEM = (
    "delivered",
    "dead again",
    "dropped",
    "cannot be replayed: not in the letter as it was, or claimed and CLAIM_CHECK_URL is not set",
)
"""What becomes of an item."""
_RESULTS = {"acknowledged": DELIVERED, "dead": DEAD_AGAIN, "dropped": DROPPED}
_HINTS = get_type_hints(Product)
_NEEDED = {one.name for one in fields(Product) if one.default is MISSING and one.default_factory is MISSING}


class Replayed(NamedTuple):
    """What became of an item, and what is to be produced of it: its record, or its next letter."""

    result: str
    records: list[Record]


class ItemReplay:
    """`async with`: the chain of ITEM_PIPELINES. It produces nothing: the records of an item are kept, and are produced
    with its letter's receipt.
    """

    def __init__(self, settings: Any, spider: str):
        settings = settings.copy()
        settings.set("KAFKA_DELIVERY", AT_LEAST_ONCE, priority="cmdline")
        crawler = with_spider(idle_crawler(settings, spider))
        Delivery.keep_records_of(crawler)
        crawler.stats = load_object(crawler.settings["STATS_CLASS"])(crawler)
        self._chain = build_from_crawler(load_object(crawler.settings["ITEM_PROCESSOR"]), crawler)
        self._letters = DeadLetters.of(crawler)
        self._products = ReplayedProducts(crawler.settings)

    async def __aenter__(self) -> Self:
        await self._chain.open_spider_async()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._chain.close_spider_async()
        await self._products.close()

    async def through(self, letter: Letter, value: bytes | None) -> Replayed:
        """What becomes of a letter's item now. That a product is gone is the next crawl's to tell, if it still is."""
        try:
            item = item_of(value or b"")
        except ValueError:
            return Replayed(NO_ITEM, [])
        if isinstance(item, Product) and item.change == "gone":
            return Replayed(DROPPED, [])
        record = _record(letter)
        with _current(record), suppress(DropItem):  # the record knows its fate
            await self._chain.process_item_async(item)
        await self._products.forget(record.records)
        [fate] = record.fates
        return Replayed(_RESULTS[fate], record.records)

    async def refused(self, letter: Letter, value: bytes | None, error: RejectedRecord) -> Replayed:
        """An item whose record Kafka refuses gets its next letter."""
        assert self._letters is not None
        record = _record(letter)
        with _current(record):
            await self._letters.send(item_of(value or b""), error, error.stage)
        return Replayed(DEAD_AGAIN, record.records)


class ItemReplays:
    """`async with`: the chains of the spiders whose items are replayed, made when they are needed."""

    def __init__(self, settings: Any):
        self._settings = settings
        self._stack = AsyncExitStack()
        self._chains: dict[str, ItemReplay] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def of(self, spider: str) -> ItemReplay:
        """That of a spider. UserError where there is none of that name."""
        if spider not in self._chains:
            chain = await asyncio.to_thread(ItemReplay, self._settings, spider)
            self._chains[spider] = await self._stack.enter_async_context(chain)
        return self._chains[spider]


@contextmanager
def _current(record: RequestRecord) -> Iterator[None]:
    """Its records and fates are noted on `record`."""
    token = CURRENT.set(record)
    try:
        yield
    finally:
        CURRENT.reset(token)


def _record(letter: Letter) -> RequestRecord:
    request = Request(letter.url) if is_web_url(letter.url) else None
    numbers = {"attempt": letter.attempt, "death": letter.death, "replays": letter.replays}
    names = {"request_id": letter.request_id, "budget": letter.budget, "url": letter.url}
    return RequestRecord(request, letter={**numbers, **names, "crawl_id": letter.crawl, "spider": letter.spider})


def item_of(value: bytes) -> Any:
    """The item of a letter's JSON: a Product where it has a product's fields. ValueError where it holds none.

    A value that is not what its field must be stays as it is: validation says so.
    """
    told = json.loads(value)
    if not isinstance(told, dict) or "sha256" in told:
        raise ValueError("the letter holds the hash of an item, or none")
    if not (told.keys() >= _NEEDED and told.keys() <= _HINTS.keys()):
        return told["item"] if told.keys() == {"item"} else told
    return Product(**{name: _as(_HINTS[name], part) for name, part in told.items()})


def _as(kind: Any, value: Any) -> Any:
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError:
        return value

"""Delivers records: the end of the item pipelines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from scrapy.exceptions import NotConfigured

from pipelines.delivery import Delivery

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

    from pipelines.producer import Record


class KafkaPipeline:
    """At least once, `process_item` awaits the delivery report, so `item_scraped` means "acknowledged by Kafka"."""

    def __init__(self, delivery: Delivery, *, writes_tombstones: bool = False):
        self._delivery = delivery
        self._writes_tombstones = writes_tombstones

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        settings = crawler.settings
        if not settings.get("KAFKA_BOOTSTRAP_SERVERS"):
            raise NotConfigured("KAFKA_BOOTSTRAP_SERVERS is not set")
        return cls(Delivery.of(crawler), writes_tombstones=settings.getbool("CHANGES_TOMBSTONES"))

    async def process_item(self, record: Record) -> Any:
        """The record's item, so that feed exports write what the topic holds."""
        await self._delivery.send(record)
        if self._writes_tombstones and record.item.change == "gone":
            await self._delivery.send(record._replace(value=None))
        return record.item

    async def close_spider(self) -> None:
        await self._delivery.close()

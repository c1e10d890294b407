"""Delivers records: an item leaves the pipelines when Kafka has acknowledged its record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from scrapy.exceptions import NotConfigured

from pipelines.producer import Producer, Record

if TYPE_CHECKING:
    from scrapy.crawler import Crawler


class KafkaPipeline:
    """At least once: `process_item` awaits the delivery report, so `item_scraped` means "acknowledged by Kafka"."""

    def __init__(self, producer: Producer):
        self._producer = producer

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        settings = crawler.settings
        if not settings.get("KAFKA_BOOTSTRAP_SERVERS"):
            raise NotConfigured("KAFKA_BOOTSTRAP_SERVERS is not set")
        return cls(Producer.of(crawler))

    async def process_item(self, record: Record) -> Any:
        """The record's item, so that feed exports write what the topic holds."""
        await self._producer.send(record)
        return record.item

    async def close_spider(self) -> None:
        await self._producer.close()

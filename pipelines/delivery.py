"""The one door to Kafka: what is sent through it is delivered at least once, or exactly once with its request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self
from weakref import WeakSet

from crawlers.outcomes import CURRENT
from pipelines.producer import Producer

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

    from pipelines.producer import Record

AT_LEAST_ONCE, EXACTLY_ONCE = "at_least_once", "exactly_once"


class Delivery:
    """`at_least_once`: `send` returns when Kafka has acknowledged the record.

    `exactly_once`: it returns when the record is kept with the request that is being worked on. All of a request's
    records are produced in one transaction once it has ended, and none where it is to be repeated.
    """

    def __init__(self, producer: Producer, *, is_exactly_once: bool = False):
        self._producer = producer
        self.is_exactly_once = is_exactly_once

    _kept: ClassVar[WeakSet[Crawler]] = WeakSet()

    @classmethod
    def of(cls, crawler: Crawler) -> Self:
        """The delivery that KAFKA_DELIVERY names."""
        keeps = is_exactly_once(crawler.settings) or crawler in cls._kept
        return cls(Producer.of(crawler), is_exactly_once=keeps)

    @classmethod
    def keep_records_of(cls, crawler: Crawler) -> None:
        """Whoever runs the pipelines of `crawler` produces their records, which are kept with what is worked on."""
        cls._kept.add(crawler)

    async def send(self, record: Record) -> None:
        """Deliver `record`.

        At least once, it raises RejectedRecord where Kafka refuses the record itself, Undelivered where the worker had
        to close first.
        """
        request = CURRENT.get() if self.is_exactly_once else None
        if request is not None:
            request.records.append(record)
        else:
            await self._producer.send(record)

    async def close(self) -> None:
        """After it nothing is sent."""
        await self._producer.close()


def is_exactly_once(settings: Any) -> bool:
    """What KAFKA_DELIVERY says."""
    return bool(settings["KAFKA_DELIVERY"] == EXACTLY_ONCE)

"""The one door to Kafka: what is sent through it is delivered at least once, or exactly once with its request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self
from weakref import WeakSet

from crawlers.outcomes import CURRENT
from pipelines.producer import Producer

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

    from crawlers.tracing.trace import RequestTrace
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

    async def send(self, record: Record, trace: RequestTrace | None = None) -> None:
        """Deliver `record`, in the trace of what is being worked on, or in that one.

        At least once, it raises RejectedRecord where Kafka refuses the record itself, Undelivered where the worker had
        to close first.
        """
        request = CURRENT.get()
        trace = trace or (request.trace if request is not None else None)
        keeps = request.records if self.is_exactly_once and request is not None else None
        if trace is None:
            await self._keep_or_produce(record, keeps)
            return
        record, step = trace.producing(record)
        try:
            await self._keep_or_produce(record, keeps)
        except BaseException as error:
            step.end(error)
            raise
        if keeps is None:
            step.end()

    async def _keep_or_produce(self, record: Record, keeps: list[Record] | None) -> None:
        if keeps is not None:
            keeps.append(record)
        else:
            await self._producer.send(record)

    async def close(self) -> None:
        """After it nothing is sent."""
        await self._producer.close()


def is_exactly_once(settings: Any) -> bool:
    """What KAFKA_DELIVERY says."""
    return bool(settings["KAFKA_DELIVERY"] == EXACTLY_ONCE)

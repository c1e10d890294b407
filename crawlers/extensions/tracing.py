"""Tracing, where an OTLP endpoint is set. RequestOutcomes tells it of every request."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

from scrapy import Request, signals
from scrapy.exceptions import NotConfigured

from crawlers.domains import is_web_url
from crawlers.outcomes import CURRENT, RequestRecord
from crawlers.tracing.options import is_traced
from crawlers.tracing.traceparent import TRACEPARENT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scrapy.crawler import Crawler

    from crawlers.failed_request import FailedRequest


class Tracing:
    """Gives each attempt at a request its trace, and each request that is found on a page its parent's traceparent."""

    def __init__(self, crawler: Crawler):
        from crawlers.tracing.export import Tracer  # which imports OpenTelemetry

        self._crawler = crawler
        self._tracer = Tracer(crawler.settings)
        self._drain_seconds = crawler.settings.getfloat("TRACING_DRAIN_TIMEOUT")

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        if not is_traced(crawler.settings):
            raise NotConfigured  # without a word: that is how it is shipped
        tracing = cls(crawler)
        crawler.signals.connect(tracing.request_scheduled, signal=signals.request_scheduled)
        crawler.signals.connect(tracing.spider_closed, signal=signals.spider_closed)
        return tracing

    def begin(self, record: RequestRecord) -> None:
        """Its response is about to be worked on."""
        spider: Any = self._crawler.spider
        lease = record.lease
        id_ = lease.id if lease is not None else self._crawler.request_fingerprinter.fingerprint(record.request)[:8]  # type: ignore[union-attr]
        record.trace = self._tracer.begin(record, getattr(spider, "crawl_id", ""), spider.name, id_)
        if lease is not None:
            lease.trace = record.trace

    @contextmanager
    def letter_of(self, failed: FailedRequest) -> Iterator[FailedRequest]:
        """The letter of a request that died in the queue is written in its trace, too."""
        record = RequestRecord(Request(failed.url if is_web_url(failed.url) else "data:,"), handed_at=monotonic())
        trace = self._tracer.begin(record, failed.crawl, failed.spider, failed.id)
        topic = self._crawler.settings["KAFKA_TOPIC_DEAD_LETTERS"]
        step = trace.step("produce", topic=topic, headers=(), bytes=len(failed.data))
        yield replace(failed, traceparent=trace.traceparent(step.span_id))
        step.end()
        told = {"url": failed.url, "domain": failed.domain, "site": failed.site, "attempt": failed.attempt}
        trace.settled("dead", failed.reason, {**told, "error": failed.why, "items": 0, "links": 0})

    def request_scheduled(self, request: Request) -> None:
        """Before the frontier stores it. Parents without spans are not stored: nobody could follow them."""
        record = CURRENT.get()
        if record is None or record.trace is None or _is_another_try(record, request):
            return
        if record.trace.is_sampled:
            request.meta[TRACEPARENT] = record.trace.traceparent()
        elif TRACEPARENT in request.meta:  # which it has copied from its parent's meta
            del request.meta[TRACEPARENT]

    async def spider_closed(self) -> None:
        await self._tracer.close(self._drain_seconds)


def _is_another_try(record: RequestRecord, request: Request) -> bool:
    """Whether `request` is the one that is being worked on, once more: it was found where that was."""
    before = record.request.meta.get("retry_times", 0)
    return record.successor is request and bool(request.meta.get("retry_times", 0) > before)

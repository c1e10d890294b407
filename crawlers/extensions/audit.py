"""The audit trail: one event on KAFKA_TOPIC_PAGES for each attempt at a request, before the request is settled."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

import structlog
from scrapy import Request
from scrapy.exceptions import NotConfigured
from twisted.python.failure import Failure

from crawlers import metrics
from crawlers.audit_sample import AuditSample
from crawlers.browser_rules import ROUTE
from crawlers.budgets import site_name
from crawlers.domains import domain_of
from crawlers.exceptions import RejectedRecord
from crawlers.lineage import worker_name
from crawlers.outcomes import CURRENT
from crawlers.page import Page
from crawlers.refusals import answer_of
from crawlers.shown_url import ShownUrls
from pipelines.delivery import Delivery
from pipelines.page_events import PageEvents, is_audited
from pipelines.topics import require_kafka

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

    from crawlers.outcomes import RequestRecord
    from pipelines.producer import Record

log = structlog.get_logger("seine.audit")

_LONGEST_TEXT = 8192


class AuditTrail:
    """Makes events of outcomes, and sends them. RequestOutcomes tells it of every request that ends.

    A request is settled once its event is acknowledged: an event may be lost only with a request that is repeated.
    """

    def __init__(self, crawler: Crawler, events: PageEvents):
        settings = crawler.settings
        self._crawler = crawler
        self._events = events
        self._delivery = Delivery.of(crawler)
        self._sample = AuditSample.read(settings.getlist("AUDIT_SAMPLE"))
        self._urls = ShownUrls.of(crawler)
        self._worker = worker_name(settings)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        if not is_audited(crawler.settings):
            raise NotConfigured("KAFKA_BOOTSTRAP_SERVERS and KAFKA_TOPIC_PAGES are not both set")
        require_kafka(crawler.settings)
        return cls(crawler, PageEvents.from_settings(crawler.settings))

    def event(
        self, record: RequestRecord, outcome: str, reason: str, result: Any, timings: dict[str, float | None]
    ) -> Record | None:
        """The event of a request that has ended so; None where none is told. `timings` are those of `timings_of`.

        That is of a pending one, of one that is no longer this worker's, of what AUDIT_SAMPLE leaves out, and of what
        does not fit the schema.
        """
        lease = record.lease
        if outcome == "pending" or (lease is not None and (lease.lost or lease.settled)):
            return None
        fingerprint: bytes = self._crawler.request_fingerprinter.fingerprint(record.request)  # type: ignore[union-attr]
        if not self._sample.takes(outcome, fingerprint):
            return None
        try:
            page = self._page(record, outcome, reason, result, fingerprint, timings)
            return self._events.record(page, lease.id if lease is not None else fingerprint)
        except (TypeError, ValueError, AttributeError, OverflowError) as error:  # spiders may write anything into meta
            self._refuse(fingerprint[:8].hex(), f"{type(error).__name__}: {error}")
            return None

    async def send(self, event: Record, record: RequestRecord, outcome: str) -> None:
        """Return when Kafka has the event, or where delivery is exactly once, when it goes with the request's records.

        That of an attempt that another one follows goes alone, as a request that is repeated has no transaction.
        To be run in a task of its own. Raises Undelivered: the request is not done then. An event that Kafka refuses is
        given up, as its request would be refused for ever.
        """
        CURRENT.set(None if outcome == "retried" else record)
        try:
            await self._delivery.send(event, record.trace)
        except RejectedRecord as error:
            self.give_up(event, str(error))

    def is_event(self, record: Record) -> bool:
        """Whether it is one of the audit trail's."""
        return record.topic == self._events.topic

    def amended(self, event: Record, outcome: str, reason: str, request_id: bytes) -> Record:
        """`event`, of a request that has come to another end."""
        amended = self._events.record(replace(event.item, outcome=outcome, reason=_text(reason)), request_id)
        return amended._replace(headers=amended.headers + event.headers[len(amended.headers) :])  # its traceparent

    def give_up(self, event: Record, why: str) -> None:
        """Kafka refuses the event itself."""
        self._refuse(event.key.decode(), why)

    @staticmethod
    def _refuse(fingerprint: str, why: str) -> None:
        metrics.AUDIT_REJECTED.inc()
        log.error("audit event rejected", fingerprint=fingerprint, error=why)

    def _page(
        self,
        record: RequestRecord,
        outcome: str,
        reason: str,
        result: Any,
        fingerprint: bytes,
        timings: dict[str, float | None],
    ) -> Page:
        request: Request = record.request
        meta, spider = request.meta, self._crawler.spider
        domain, site = domain_of(request.url), site_name(request, spider)
        return Page(
            url=self._urls.shown(request.url, site or domain),
            domain=domain,
            fingerprint=fingerprint[:8].hex(),
            crawl_id=getattr(spider, "crawl_id", ""),
            spider=spider.name,  # type: ignore[union-attr]
            site=site,
            worker=self._worker,
            attempt=record.attempt,
            outcome=outcome,
            reason=_text(reason) or None,
            error_class=record.error or _error_class(result),
            status=_status(result, request),
            bytes=len(answer.body) if (answer := answer_of(result)) is not None else None,
            redirected_to=self._urls.shown(result.url, site or domain_of(result.url))
            if outcome == "redirected"
            else None,
            items=record.fates.total(),
            links=record.children + record.known,
            record_ids=record.record_ids,
            identity=meta.get("identity_label") or _user_agent(request),
            proxy=meta.get("proxy_label"),
            rendered_by=meta.get("rendered_by"),
            route=meta.get(ROUTE),
            ended_at=datetime.now(UTC),
            **timings,
        )


def _text(value: str) -> str:
    return value[:_LONGEST_TEXT].encode("utf-8", "replace").decode()


def _status(result: Any, request: Request) -> int | None:
    """Of the answer; of one that led to another request, as RedirectMiddleware tells it there."""
    if (response := answer_of(result)) is not None:
        return response.status
    if not isinstance(result, Request):
        return None
    before, now = (one.meta.get("redirect_reasons") or [] for one in (request, result))
    return now[-1] if len(now) > len(before) and isinstance(now[-1], int) else None


def _error_class(result: Any) -> str | None:
    return result.type.__name__ if isinstance(result, Failure) and result.type else None


def _user_agent(request: Request) -> str | None:
    header = request.headers.get("User-Agent")
    return header.decode("latin-1")[:_LONGEST_TEXT] if header else None

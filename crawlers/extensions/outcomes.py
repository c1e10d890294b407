"""Tells the outcome of every request: one event, one count in the stats, one in the metrics."""

from __future__ import annotations

from collections import Counter
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

import structlog
from scrapy import Request, signals
from scrapy.exceptions import DownloadCancelledError, IgnoreRequest
from scrapy.http import Response
from scrapy.utils.defer import deferred_from_coro, maybe_deferred_to_future
from twisted.internet.defer import succeed
from twisted.python.failure import Failure

from crawlers import metrics
from crawlers.browser_rules import PATTERN, ROUTE
from crawlers.budgets import site_name
from crawlers.domains import domain_of
from crawlers.exceptions import Undelivered
from crawlers.extensions.audit import AuditTrail
from crawlers.extensions.tracing import Tracing
from crawlers.lineage import worker_name
from crawlers.logs import bind_process
from crawlers.measuring import measure
from crawlers.outcomes import CURRENT, RequestRecord
from crawlers.refusals import GivenUp, Refused, answer_of
from crawlers.request_letters import RequestLetters
from crawlers.sink_load import SinkLoad
from crawlers.timings import timings_of
from pipelines.delivery import is_exactly_once

if TYPE_CHECKING:
    from scrapy.crawler import Crawler
    from twisted.internet.defer import Deferred

    from crawlers.frontier.leases import Lease
    from pipelines.producer import Record

log = structlog.get_logger("seine.request")

_REFUSALS = {"Filtered offsite": "offsite", "page limit": "page limit"}
_TOO_LARGE = "too large"
"""The body exceeded DOWNLOAD_MAXSIZE, on the wire or decompressed."""


class RequestOutcomes:
    """Wraps the engine's handling of a download: the one point that every request passes, however it ended.

    Scrapy's signals are not enough: a download that failed without errback, and an HTTP error, fire none.
    """

    def __init__(self, crawler: Crawler):
        self._crawler = crawler
        self._frontier: Any = None
        self._audit: AuditTrail | None = None
        self._tracing: Tracing | None = None
        self._letters: RequestLetters | None = None
        self._is_exactly_once = is_exactly_once(crawler.settings)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        extension = cls(crawler)
        bind_process(worker=worker_name(crawler.settings))
        crawler.signals.connect(extension.spider_opened, signal=signals.spider_opened)
        crawler.signals.connect(extension.request_scheduled, signal=signals.request_scheduled)
        crawler.signals.connect(extension.request_dropped, signal=signals.request_dropped)
        crawler.signals.connect(extension.spider_error, signal=signals.spider_error)
        return extension

    def spider_opened(self) -> None:
        engine = self._crawler.engine
        self._letters = RequestLetters.of(self._crawler)
        handle = engine._handle_downloader_output

        scheduler: Any = engine.scheduler
        self._frontier = scheduler if hasattr(scheduler, "finished") else None
        self._audit = self._crawler.get_extension(AuditTrail)
        self._tracing = self._crawler.get_extension(Tracing)
        if self._audit is not None and self._frontier is None:
            self._wait_for_room()

        def observed(result: Any, request: Request) -> Any:
            record = RequestRecord(request, handed_at=monotonic())
            if isinstance(result, Request):
                record.successor = result
            elif isinstance(result, Response):
                record.status, record.headers = result.status, result.headers
            if self._frontier is not None:
                record.lease = self._frontier.lease_of(request)
            if self._tracing is not None:
                self._tracing.begin(record)
            if self._frontier is not None and (reason := self._frontier.retries(result, request)):
                return self._end(record, "retried", reason, result) or succeed(None)
            token = CURRENT.set(record)
            try:
                finished = handle(result, request)
            finally:
                CURRENT.reset(token)
            return finished.addBoth(self._finished, record, result)

        engine._handle_downloader_output = observed  # type: ignore[method-assign]

    def _wait_for_room(self) -> None:
        """Start no more while too much is on its way to Kafka; a frontier asks for that itself."""
        engine, load = self._crawler.engine, SinkLoad.of(self._crawler)
        needs_backout = engine.needs_backout
        engine.needs_backout = lambda: needs_backout() or not load.has_room()  # type: ignore[method-assign]

    def request_scheduled(self) -> None:
        if (record := CURRENT.get()) is not None:
            record.children += 1

    def request_dropped(self) -> None:
        if (record := CURRENT.get()) is not None:
            record.dropped += 1

    def spider_error(self, failure: Failure) -> None:
        if (record := CURRENT.get()) is not None:
            record.error = failure.type.__name__ if failure.type else "spider error"
            record.why = failure.getErrorMessage()

    def _finished(self, handled: Any, record: RequestRecord, result: Any) -> Any:
        record.account_for_middlewares()
        outcome, reason = _outcome(record, result, record.request)
        if self._letters is not None and self._letters.is_due(record, outcome, reason):
            return deferred_from_coro(self._bury(record, reason, result)).addCallback(lambda _: handled)
        ended = self._end(record, outcome, reason, result)
        return handled if ended is None else ended.addCallback(lambda _: handled)

    async def _bury(self, record: RequestRecord, reason: str, result: Any) -> None:
        """A request is dead when its letter is delivered."""
        assert self._letters is not None
        why = _why(result) if isinstance(result, Failure) else record.why or reason
        end = "dead", reason
        if not await self._letters.write(record, result, reason, why):
            end = "pending", "undelivered"
        if (ended := self._end(record, *end, result)) is not None:
            await maybe_deferred_to_future(ended)

    def _end(self, record: RequestRecord, outcome: str, reason: str, result: Any) -> Deferred[None] | None:
        """Tell and settle a request that has ended so: at once, or when Kafka has its audit event."""
        site = site_name(record.request, self._crawler.spider)
        timings = timings_of(record, result, monotonic(), is_delivered=not self._is_exactly_once)
        measure(record.request, outcome, result, site, timings)
        event = self._audit.event(record, outcome, reason, result, timings) if self._audit is not None else None
        told = _event(record, result, record.request, site)
        if outcome != "retried":
            result = None  # a page is not kept for as long as Kafka takes
        if event is None:
            self._settle(record, outcome, reason, result, told)
            return None
        return deferred_from_coro(self._settle_audited(event, record, outcome, reason, result, told))

    async def _settle_audited(
        self, event: Record, record: RequestRecord, outcome: str, reason: str, result: Any, told: dict[str, Any]
    ) -> None:
        assert self._audit is not None
        try:
            await self._audit.send(event, record, outcome)
        except Undelivered:
            outcome, reason = "pending", "undelivered"
        self._settle(record, outcome, reason, result, told)

    def _settle(self, record: RequestRecord, outcome: str, reason: str, result: Any, told: dict[str, Any]) -> None:
        self._tell(outcome, reason, told, record.refused + record.middlewares)
        if self._frontier is not None:
            self._frontier.finished(record.request, record, outcome, reason, result)
        if record.trace is not None:
            record.trace.settled(outcome, reason, told)

    def tell_unreadable(self, lease: Lease, reason: str, error: str) -> None:
        """A request has died of what is stored of it, before it was one."""
        told = {"url": None, "domain": lease.domain, "attempt": lease.attempts + 1, "error": error}
        self._tell("dead", reason, told, Counter())

    def _tell(self, outcome: str, reason: str, told: dict[str, Any], refused: Counter[str]) -> None:
        stats = self._crawler.stats
        stats.inc_value(f"outcomes/{outcome}")
        if reason:
            stats.inc_value(f"outcomes/{outcome}/{reason}")
        for why, count in refused.items():
            stats.inc_value(f"links/refused/{why}", count)
        metrics.REQUESTS.labels(outcome, reason).inc()
        level = log.warning if outcome in ("dead", "pending") else log.info
        level("request", **told, outcome=outcome, reason=reason)


def _outcome(record: RequestRecord, result: Any, request: Request) -> tuple[str, str]:
    if isinstance(result, Request):
        return _moved(record, result, request)
    if isinstance(result, Failure):
        return _failed(result)
    if result.status >= 400 and not record.fates:
        return "dead", f"http {result.status}"
    if result.status == 304 and not record.fates and _is_conditional(request):
        return "delivered", "not modified"
    return record.outcome()


def _is_conditional(request: Request) -> bool:
    return "If-None-Match" in request.headers or "If-Modified-Since" in request.headers


def _moved(record: RequestRecord, successor: Request, request: Request) -> tuple[str, str]:
    """The outcome of a request that another one takes the place of."""
    if record.rescheduled or successor.meta.get("retry_times", 0) > request.meta.get("retry_times", 0):
        return "retried", str(successor.meta.get("retry_reason", ""))
    if not record.dropped:
        return "redirected", "offsite" if record.middlewares["offsite"] else ""
    looped = successor.url in successor.meta.get("redirect_urls", ())
    return ("dead", "redirect loop") if looped else ("redirected", "duplicate")


def _failed(failure: Failure) -> tuple[str, str]:
    if isinstance(failure.value, (Refused, GivenUp)):
        return failure.value.outcome, failure.value.reason
    message = failure.getErrorMessage()
    if failure.check(DownloadCancelledError) or "exceeded DOWNLOAD_MAXSIZE" in message:
        return "dead", _TOO_LARGE
    if not failure.check(IgnoreRequest):
        return "dead", failure.type.__name__ if failure.type else "failure"
    if message.startswith("max redirections"):
        return "dead", "redirect loop"
    return "filtered", next((reason for start, reason in _REFUSALS.items() if message.startswith(start)), "ignored")


def _why(failure: Failure) -> str:
    """What went wrong, in words; Scrapy's wrappers of Twisted's errors leave them to their cause."""
    causes = getattr(failure.value.__cause__, "reasons", None) if failure.value else None
    text: str = (causes[-1] if causes else failure).getErrorMessage()
    return text or type(failure.value).__name__


def _event(record: RequestRecord, result: Any, request: Request, site: str | None) -> dict[str, Any]:
    event: dict[str, Any] = {
        "url": request.url,
        "domain": domain_of(request.url),
        "site": site,
        "attempt": record.attempt,
        "items": record.fates.total(),
        "links": record.children + record.known,
    }
    if (response := answer_of(result)) is not None:
        event |= {"status": response.status, "bytes": len(response.body)}
    if isinstance(result, Failure):
        event["error"] = _why(result)
    if (pattern := request.meta.get(PATTERN)) is not None:
        event |= {"route": request.meta[ROUTE], "pattern": pattern}
    if latency := request.meta.get("download_latency"):
        event["seconds"] = round(latency, 4)
    if record.trace is not None:
        event["trace_id"] = record.trace.hex_id
    return event

"""The dead letters of the requests that a worker sees end; of those that die without one, frontier/letters.py."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import structlog
from twisted.python.failure import Failure

from crawlers.budgets import budget_of
from crawlers.exceptions import Undelivered
from crawlers.failed_request import DOWNLOAD, SPIDER, FailedRequest
from crawlers.frontier.codec import RequestCodec, Unstorable
from crawlers.outcomes import CURRENT, ITEM_REASON
from crawlers.refusals import Banned
from pipelines.dead_letter import DeadLetters

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler

    from crawlers.outcomes import RequestRecord

log = structlog.get_logger("seine.dead_letter")


class RequestLetters:
    """Writes the letter of a request before its outcome is told."""

    def __init__(self, crawler: Crawler, letters: DeadLetters):
        self._crawler = crawler
        self._letters = letters
        self._codec = RequestCodec(crawler.spider)  # type: ignore[arg-type]

    @classmethod
    def of(cls, crawler: Crawler) -> Self | None:
        """Those of `crawler`, which has its spider; None where no Kafka is configured."""
        letters = DeadLetters.of(crawler)
        return cls(crawler, letters) if letters is not None else None

    @staticmethod
    def is_due(record: RequestRecord, outcome: str, reason: str) -> bool:
        """Whether a request with that outcome has a letter of its own: its items have theirs already.

        It has none where its lease is no longer this worker's, as it is not dead then.
        """
        is_lost = record.lease is not None and (record.lease.settled or record.lease.lost)
        return outcome == "dead" and reason != ITEM_REASON and not is_lost

    async def write(self, record: RequestRecord, result: Any, reason: str, why: str) -> bool:
        """Whether the letter is delivered: where it is not, the worker closes, and the request is not settled."""
        CURRENT.set(record)
        try:
            failed = self._failed(record, result, reason, why)
            await self._letters.send_request(replace(failed, screenshot=await self._screenshot(result, failed.site)))
        except Undelivered as error:
            log.warning("dead letter not delivered", url=record.request.url, error=str(error))
            return False
        except Exception:  # a mistake of ours must not leave the request without an end: it goes back
            log.exception("dead letter failed", url=record.request.url)
            return False
        return True

    async def _screenshot(self, result: Any, site: str) -> bytes:
        """Of the wall that a request died of; b"" where there is none, or its letter cannot refer to it."""
        error = result.value if isinstance(result, Failure) else None
        if not isinstance(error, Banned) or error.picture is None or not self._letters.take_screenshots(site):
            return b""
        return await error.picture() or b""

    def _failed(self, record: RequestRecord, result: Any, reason: str, why: str) -> FailedRequest:
        spider: Any = self._crawler.spider
        request: Request = record.request
        stage = SPIDER if record.error == reason and not isinstance(result, Failure) else DOWNLOAD
        about = {
            "url": request.url,
            "site": request.meta.get("site", ""),
            "crawl": getattr(spider, "crawl_id", ""),
            "spider": spider.name,
        }
        if record.lease is not None:
            return FailedRequest.of_lease(record.lease, stage, reason, why, **about)
        return FailedRequest(
            stage=stage,
            reason=reason,
            why=why,
            data=self._data(request),
            id=self._crawler.request_fingerprinter.fingerprint(request)[:8],
            budget=budget_of(request, spider),
            attempt=1 + int(request.meta.get("retry_times", 0)),
            **about,
        )

    def _data(self, request: Request) -> bytes:
        try:
            return self._codec.encode(request)
        except Unstorable as error:
            log.warning("request cannot be stored: its letter holds its address", error=str(error))
            return b""

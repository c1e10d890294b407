"""Scrapy's downloader, with the frontier's politeness at its last gate.

The frontier says when a request may start. What a worker is late with must still keep its distance, and robots.txt,
which middlewares fetch on their own, must keep it too: so each domain with a delay sends one request at a time, the
next one not before nine tenths of the delay after the last one was really sent. That moment the frontier is told.
"""

from __future__ import annotations

from contextvars import ContextVar
from time import monotonic
from typing import TYPE_CHECKING, Any

from scrapy import Request
from scrapy.core.downloader import Downloader, Slot
from scrapy.core.downloader.handlers.http11 import HTTP11DownloadHandler
from scrapy.utils.asyncio import call_later
from scrapy.utils.defer import _schedule_coro
from twisted.web.client import HTTPConnectionPool

from crawlers.domains import domain_of
from crawlers.frontier.retrying import retry_after, verdict_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from scrapy.crawler import Crawler
    from scrapy.http import Response

CLOSEST = 0.9
"""Of the delay: what a late start may be made good by. lua/common.lua has the same."""
_UNLIMITED = 1_000_000

SENDING: ContextVar[Callable[[], None] | None] = ContextVar("sending", default=None)
"""What a download handler calls when it writes the request to its connection."""


class FleetSlot(Slot):
    """A budget's requests in this worker. Their number is the frontier's to limit; their distance is kept here."""

    def __init__(self, delay: float):
        super().__init__(_UNLIMITED, delay, 0.0)
        self.unsent: Request | None = None
        """The request that has been started and not yet sent; the next one waits for it."""

    def free_transfer_slots(self) -> int:
        return _UNLIMITED


class FleetDownloader(Downloader):
    """Starts what the frontier leased, and tells it when a request was sent and when its download ended."""

    def __init__(self, crawler: Crawler):
        super().__init__(crawler)
        self.slots: dict[str, Any] = {}
        self._delays: dict[str, float] = {}
        self._budgets: dict[str, str] = {}
        self._longest_wait = crawler.settings.getfloat("RETRY_AFTER_LONGEST")

    @property
    def _frontier(self) -> Any:
        assert self.crawler.engine is not None
        return self.crawler.engine.scheduler

    def keep_distance(self, budget: str, url: str, delay: float) -> None:
        """From now on `delay` seconds lie between two requests of `budget`, which `url` is charged to."""
        if delay or budget in self._delays:
            self._delays[budget] = delay
            self._budgets[domain_of(url)] = budget
            if budget in self.slots:
                self.slots[budget].delay = delay

    def get_slot_key(self, request: Request) -> str:
        key = request.meta.get(self.DOWNLOAD_SLOT) or domain_of(request.url)
        return self._budgets.get(key, key)

    def _get_slot(self, request: Request, spider: Any = None) -> tuple[str, Slot]:
        key = self.get_slot_key(request)
        if key not in self.slots:
            self.slots[key] = FleetSlot(self._delays.get(key, 0.0))
            self._start_slot_gc()
        return key, self.slots[key]

    def _process_queue(self, slot: Any) -> None:
        if slot.latercall:
            return
        while slot.queue and slot.unsent is None:
            if slot.delay:
                wait = slot.lastseen + CLOSEST * slot.delay - monotonic()
                if wait > 0:
                    slot.latercall = call_later(wait, self._latercall, slot)
                    return
                slot.unsent = slot.queue[0][0]
            slot.lastseen = monotonic()
            request, deferred = slot.queue.popleft()
            _schedule_coro(self._wait_for_download(slot, request, deferred))

    async def _download(self, slot: Any, request: Request) -> Response:
        frontier = self._frontier
        started_at = monotonic()
        lease = frontier.lease_of(request)
        result: Response | BaseException = ConnectionError("cancelled")
        if slot.delay:
            SENDING.set(lambda: self._soon_sent(slot, request))
        elif lease is not None:
            lease.started = True
        try:
            result = await super()._download(slot, request)
            return result
        except Exception as error:
            result = error
            raise
        finally:
            self._sent(slot, request)
            if lease is not None:
                latency = request.meta.get("download_latency", monotonic() - started_at)
                frontier.ended(lease, latency, verdict_of(result), retry_after(result, self._longest_wait))

    def _soon_sent(self, slot: FleetSlot, request: Request) -> None:
        """It is in its connection's buffer: the event loop writes it in its next round, after what is ready."""
        _call_soon(_call_soon, self._sent, slot, request)

    def _sent(self, slot: FleetSlot, request: Request) -> None:
        if slot.unsent is not request:
            return
        slot.unsent = None
        slot.lastseen = monotonic()
        self._frontier.began(request)
        self._process_queue(slot)


def _call_soon(function: Callable[..., Any], *arguments: Any) -> None:
    import asyncio

    asyncio.get_running_loop().call_soon(function, *arguments)


class TellingHTTPHandler(HTTP11DownloadHandler):
    """Scrapy's HTTP/1.1 handler, which tells SENDING when a connection is there and the request is written to it."""

    def __init__(self, crawler: Crawler):
        super().__init__(crawler)
        plain, self._pool = self._pool, _TellingPool(self._pool)
        plain.closeCachedConnections()


class _TellingPool(HTTPConnectionPool):
    def __init__(self, like: HTTPConnectionPool):
        super().__init__(like._reactor, persistent=True)
        self.maxPersistentPerHost = like.maxPersistentPerHost
        self._factory = like._factory

    def getConnection(self, key: Any, endpoint: Any) -> Any:
        deferred = super().getConnection(key, endpoint)
        if (sending := SENDING.get()) is not None:
            deferred.addCallback(lambda connection: (sending(), connection)[1])
        return deferred

"""Scrapy's downloader, with the frontier's politeness at its last gate.

The frontier says when a request may start. What a worker is late with must still keep its distance, and robots.txt,
which middlewares fetch on their own, must keep it too: so each domain with a delay sends one request at a time, the
next one not before nine tenths of the delay after the last one was really sent. That moment the frontier is told.
A request is started somewhat before its time, and a handler that can do so holds it with its connection until then.
"""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

from scrapy import Request
from scrapy.core.downloader import Downloader, Slot
from scrapy.utils.asyncio import call_later
from scrapy.utils.defer import _schedule_coro, deferred_from_coro
from scrapy.utils.httpobj import urlparse_cached
from twisted.internet.defer import inlineCallbacks

from crawlers.browser_rules import AGAIN
from crawlers.domains import domain_of
from crawlers.frontier.retrying import GOOD, THROTTLED, retry_after, verdict_of
from crawlers.frontier.sending import CONNECTING, DEPARTURE, Departure, NotLeased
from crawlers.frontier.turns import Turns
from crawlers.refusals import RobotsUnreachable

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from scrapy.crawler import Crawler
    from scrapy.http import Response
    from twisted.internet.defer import Deferred

CLOSEST = 0.9
"""Of the delay: what a late start may be made good by. lua/common.lua has the same."""
LONGEST_WAY = 0.25
"""Seconds that a request with a delay is taken before its time, at most: it has one of the worker's places by then."""
_UNLIMITED = 1_000_000


class Lately:
    """The median of the last few durations, in seconds."""

    def __init__(self) -> None:
        self._last: deque[float] = deque(maxlen=5)
        self.median = 0.0

    def add(self, seconds: float) -> None:
        """One more was seen."""
        self._last.append(seconds)
        self.median = sorted(self._last)[len(self._last) // 2]


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
        self._turns = Turns()
        self._to_here, self._to_connection = Lately(), Lately()

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

    @inlineCallbacks
    def fetch(self, request: Request, spider: Any = None) -> Generator[Deferred[Any], Any, Response | Request]:
        self.active.add(request)
        try:
            result: Response | Request = yield deferred_from_coro(self._judged(request))
            return result
        finally:
            self.active.remove(request)

    async def _judged(self, request: Request) -> Response | Request:
        """What looks good is told when the middlewares have seen it, too: a wall looks like a page."""
        result: Response | Request | BaseException = ConnectionError("cancelled")
        try:
            result = response = await self.middleware.download_async(self._enqueue_request, request)
        except Exception as error:
            result = error
            raise
        finally:
            self._tell(request, result)
            del result  # of a wall it is an exception with the page, in a cycle with this frame
        if self._delays:
            await self._turns.come()
        return response

    def _tell(self, request: Request, result: Response | Request | BaseException) -> None:
        """Of a request that asks for a page once more, only that it was asked to slow down: the first one is judged."""
        if AGAIN in request.meta and verdict_of(result) != THROTTLED:
            return
        lease, is_unreachable = self._frontier.lease_for(request), isinstance(result, RobotsUnreachable)
        if lease is not None and (lease.latency is not None or is_unreachable):
            wait = 0.0 if is_unreachable else retry_after(result, self._longest_wait)
            self._frontier.ended(lease, lease.latency or 0.0, verdict_of(result), wait)

    async def _enqueue_request(self, request: Request) -> Response:
        if AGAIN in request.meta:
            with self.aside(request, request.meta[AGAIN]):
                await self._frontier.start_again(request)
        lease = self._frontier.lease_of(request)
        if lease is not None and lease.delay:
            self._to_here.add(monotonic() - lease.taken_at)
        return await super()._enqueue_request(request)

    @contextmanager
    def aside(self, *requests: Request) -> Iterator[None]:
        """They take none of this worker's places meanwhile: what they wait for may need one."""
        self.active.difference_update(requests)
        try:
            yield
        finally:
            self.active.update(requests)

    def _process_queue(self, slot: Any) -> None:
        if slot.latercall:
            return
        while slot.queue and slot.unsent is None:
            if slot.delay:
                request = slot.queue[0][0]
                if not self._frontier.is_leased(request):
                    slot.queue.popleft()[1].errback(NotLeased())
                    continue
                wait = self._start_at(slot, request) - monotonic()
                if self._waits_for_departure(request):
                    wait -= LONGEST_WAY
                if wait > 0:
                    slot.latercall = call_later(wait, self._latercall, slot)
                    return
                slot.unsent = request
            else:
                slot.lastseen = monotonic()
            request, deferred = slot.queue.popleft()
            _schedule_coro(self._wait_for_download(slot, request, deferred))

    def _start_at(self, slot: FleetSlot, request: Request) -> float:
        lease = self._frontier.lease_for(request)
        planned = lease.start_at if lease is not None else 0.0
        return max(planned, slot.lastseen + CLOSEST * slot.delay)

    def _departure(self, slot: FleetSlot, request: Request, started_at: float) -> Departure:
        def start_at() -> float:
            self._to_connection.add(monotonic() - started_at)
            self._frontier.take_early(self._to_here.median + self._to_connection.median)
            return self._start_at(slot, request)

        return Departure(start_at, lambda: self._sent(slot, request), lambda: self._frontier.is_leased(request))

    def _waits_for_departure(self, request: Request) -> bool:
        handler = self.handlers._get_handler(urlparse_cached(request).scheme)
        return getattr(handler, "waits_for_departure", False)

    async def _download(self, slot: Any, request: Request) -> Response:
        frontier = self._frontier
        started_at = monotonic()
        lease = frontier.lease_of(request)
        departure = None
        result: Response | BaseException = ConnectionError("cancelled")
        CONNECTING.set(lease)
        if lease is not None:
            lease.started_at = started_at
        if slot.delay:
            DEPARTURE.set(departure := self._departure(slot, request, started_at))
        elif lease is not None:
            lease.started = True
        try:
            result = response = await super()._download(slot, request)
            return response
        except Exception as error:
            result = error
            raise
        finally:
            self._sent(slot, request)
            if departure is not None and "download_latency" in request.meta:
                request.meta["download_latency"] -= departure.held
            if lease is not None:
                lease.held = departure.held if departure is not None else 0.0
                lease.latency = request.meta.get("download_latency", monotonic() - started_at)
            if verdict_of(result) != GOOD:  # the next request must not start before that is known
                self._tell(request, result)

    def _sent(self, slot: FleetSlot, request: Request) -> None:
        if slot.unsent is not request:
            return
        slot.unsent = None
        slot.lastseen = monotonic()
        self._frontier.began(request)
        self._process_queue(slot)

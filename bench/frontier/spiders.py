"""What runs in a worker's process: a crawl, or the same calls of the scheduler without one."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Self

from redis import Redis
from scrapy import Request, Spider, signals
from scrapy.core.scheduler import BaseScheduler
from scrapy.http import Response

from bench.frontier.site import Graph, number_of
from crawlers.outcomes import CURRENT, RequestRecord


class NoScheduler(BaseScheduler):
    """The least that a scheduler can be."""

    def __init__(self) -> None:
        self._queue: deque[Request] = deque()
        self._seen: set[str] = set()

    @classmethod
    def from_crawler(cls, crawler: Any) -> Self:
        return cls()

    def has_pending_requests(self) -> bool:
        return bool(self._queue)

    def enqueue_request(self, request: Request) -> bool:
        if request.url in self._seen:
            return False
        self._seen.add(request.url)
        self._queue.append(request)
        return True

    def next_request(self) -> Request | None:
        return self._queue.popleft() if self._queue else None


class LinkSpider(Spider):
    """Follows every link of a Graph."""

    name = "bench"

    def __init__(self, graph: dict[str, int] | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.graph = Graph(**(graph or {}))
        self.pages: list[float] = []
        """When each page was worked on, on the monotonic clock, which all processes share."""
        self.result: dict[str, Any] = {}

    @classmethod
    def from_crawler(cls, crawler: Any, *args: Any, **kwargs: Any) -> Self:
        spider = super().from_crawler(crawler, *args, **kwargs)
        crawler.signals.connect(spider._opened, signal=signals.spider_opened)
        crawler.signals.connect(spider._closed, signal=signals.spider_closed)
        return spider

    async def start(self) -> AsyncIterator[Any]:
        """The seeds; where several workers begin together, once all are there."""
        if (gate := self._gate) is not None:
            await _until((gate / "go").exists)
        for url in self.graph.seeds():
            yield self._request(url)

    def parse(self, response: Response, **kwargs: Any) -> Iterator[Request]:
        self.pages.append(time.monotonic())
        for link in response.selector.root.iter("a"):  # type: ignore[attr-defined]
            yield self._request(response.urljoin(link.get("href")))

    def on_error(self, failure: Any) -> None:
        """As product_spider's requests have one."""

    def _request(self, url: str) -> Request:
        return Request(url, self.parse, errback=self.on_error, meta={"shop": "bench"})

    @property
    def _gate(self) -> Path | None:
        folder = self.crawler.settings["BENCH_GATE"]
        return Path(folder) if folder else None

    def _opened(self) -> None:
        self._cpu = time.process_time()
        if self._gate is not None:
            (self._gate / str(os.getpid())).touch()

    def _closed(self) -> None:
        self.result |= {"cpu": time.process_time() - self._cpu, "pages": self.pages}


class CallSpider(LinkSpider):
    """Makes an engine's calls of its scheduler, one page after another, and times each; nothing is downloaded.

    It stands where the engine stands: the engine is paused, and what wakes the engine wakes it.
    """

    async def start(self) -> AsyncIterator[Any]:
        await self._drive()
        return
        yield

    async def _drive(self) -> None:
        engine = self.crawler.engine
        assert engine is not None
        await _until(lambda: engine.running)
        engine.pause()
        slot: Any = engine._slot
        self._woken = asyncio.Event()
        slot.nextcall._func = self._woken.set
        self._scheduler: Any = slot.scheduler
        self._times: dict[str, list[float]] = {"new": [], "seen": [], "dequeue": [], "end": []}
        self._known: set[str] = set()
        url = self.crawler.settings["REDIS_URL"]
        redis_cpu = _cpu_of_redis(url)
        began, cpu = perf_counter(), time.process_time()
        for seed in self.graph.seeds():
            self._enqueue(seed)
        await self._drain()
        spent, used = perf_counter() - began, time.process_time() - cpu
        self.result = {
            "seconds": spent,
            "used": used,
            "redis": _cpu_of_redis(url) - redis_cpu,
            "calls": {name: _summary(times) for name, times in self._times.items()},
        }
        engine.unpause()
        slot.nextcall._func = engine._start_scheduled_requests

    async def _drain(self) -> None:
        """Until every page was dequeued, and what it led to is safe."""
        left = self.graph.total
        while left:
            self._woken.clear()
            request = self._dequeue()
            if request is None:
                await self._woken.wait()
                continue
            left -= 1
            self._work_on(request)
            await asyncio.sleep(0)
        if (frontier := getattr(self._scheduler, "frontier", None)) is not None:
            while not frontier.quiet:
                await frontier.changed(0.05)

    def _dequeue(self) -> Request | None:
        began = perf_counter()
        request: Request | None = self._scheduler.next_request()
        self._times["dequeue"].append(perf_counter() - began)
        return request

    def _work_on(self, request: Request) -> None:
        record = RequestRecord(request)
        ends = hasattr(self._scheduler, "finished")
        if ends:
            record.lease = self._scheduler.lease_of(request)
        token = CURRENT.set(record)
        base = request.url.rpartition("/")[0]
        for number in self.graph.links(number_of(request.url)):
            self._enqueue(f"{base}/{number}")
        CURRENT.reset(token)
        if ends:
            began = perf_counter()
            record.lease.started = True
            self._scheduler.ended(record.lease, 0.01, 0, 0.0)
            self._scheduler.finished(request, record, "expanded", "", None)
            self._times["end"].append(perf_counter() - began)

    def _enqueue(self, url: str) -> None:
        times = self._times["seen" if url in self._known else "new"]
        self._known.add(url)
        request = self._request(url)
        began = perf_counter()
        self._scheduler.enqueue_request(request)
        times.append(perf_counter() - began)


async def _until(condition: Callable[[], bool]) -> None:
    while True:
        if condition():
            return
        await asyncio.sleep(0.01)


def _summary(times: list[float]) -> dict[str, float]:
    return {"calls": len(times), "sum": sum(times), "median": median(times) if times else 0.0}


def _cpu_of_redis(url: str | None) -> float:
    if not url:
        return 0.0
    with Redis.from_url(url) as client:
        info: Any = client.info("cpu")
        return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])

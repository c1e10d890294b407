"""Add-ons that watch a worker from inside: `-s ADDONS='{"tests.watch.Watch": 1}'`. What they see goes to the log."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from pathlib import Path
from time import monotonic
from typing import Any, Self

import structlog
from prometheus_client import generate_latest
from scrapy import signals
from scrapy.http import HtmlResponse
from scrapy.utils.trackref import live_refs

from crawlers import metrics

log = structlog.get_logger("tests.watch")

_EVERY = 0.05


class Watch:
    """Adds LoopWatch to the worker's extensions."""

    def update_settings(self, settings: Any) -> None:
        _extend(settings, "tests.watch.LoopWatch")


class Heap:
    """Adds HeapWatch, with which nothing is collected."""

    def update_settings(self, settings: Any) -> None:
        _extend(settings, "tests.watch.HeapWatch")


def _extend(settings: Any, extension: str) -> None:
    settings.set("EXTENSIONS", {**settings.getdict("EXTENSIONS"), extension: 990}, "cmdline")


class LoopWatch:
    """Tells how long the event loop stood still at most, the most memory, all counters, and changes of alerts' gauges.

    Only time in which no thread of the worker ran or waited for a CPU counts, as the kernel accounts it: that is a
    blocking call, however busy the machine is. (The loop also stands still while another thread has Python's lock.)
    """

    def __init__(self) -> None:
        self._blocked = 0.0
        self._gauges: dict[str, float] = {}

    @classmethod
    def from_crawler(cls, crawler: Any) -> Self:
        extension = cls()
        crawler.signals.connect(extension._started, signal=signals.engine_started)
        crawler.signals.connect(extension._stopped, signal=signals.engine_stopped)
        return extension

    def _started(self) -> None:
        self._task = asyncio.create_task(self._watch())

    def _stopped(self) -> None:
        self._task.cancel()
        self._look()  # a crawl may end within milliseconds of Kafka's return
        lost = max(_values(metrics.LEASES_LOST))
        log.info("watched", blocked=round(self._blocked, 3), leases_lost=lost, peak_mb=_peak(), totals=_totals())

    async def _watch(self) -> None:
        while True:
            busy, due = _busy(), monotonic() + _EVERY
            await asyncio.sleep(_EVERY)
            late = monotonic() - due
            ran = sum(seconds - busy.get(thread, 0.0) for thread, seconds in _busy().items())
            self._blocked = max(self._blocked, late - ran)
            self._look()

    def _look(self) -> None:
        gauges = {"kafka_away": max(_values(metrics.KAFKA_AWAY)), "sink_full": max(_values(metrics.SINK_FULL))}
        if gauges != self._gauges:
            self._gauges = gauges
            log.info("gauges", **gauges)


class HeapWatch:
    """Tells how many pages are still there when those of the crawl are done, though nothing collected cycles."""

    @classmethod
    def from_crawler(cls, crawler: Any) -> Self:
        extension = cls()
        crawler.signals.connect(extension._started, signal=signals.engine_started)
        crawler.signals.connect(extension._closed, signal=signals.spider_closed)
        return extension

    def _started(self) -> None:
        gc.disable()

    def _closed(self) -> None:
        pages = [response for response in live_refs[HtmlResponse] if "/p/" in response.url]
        log.info("heap", pages=len(pages), frozen=gc.get_freeze_count())
        gc.enable()


def _busy() -> dict[str, float]:
    """Seconds that each thread has run or waited for a CPU."""
    found = {}
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # it has just ended
            ran, waited, _ = (thread / "schedstat").read_text().split()
            found[thread.name] = (int(ran) + int(waited)) / 1e9
    return found


def _peak() -> float:
    """MiB that this program had at most. What getrusage tells begins with its parent's."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


def _totals() -> dict[str, float]:
    """What the worker's counters say, by name and labels as Prometheus gets them."""
    lines = generate_latest(metrics.REGISTRY).decode().splitlines()
    samples = [line.rpartition(" ") for line in lines if not line.startswith("#")]
    return {name: float(value) for name, _, value in samples if name.partition("{")[0].endswith("_total")}


def _values(metric: Any) -> list[float]:
    """By label; 0 is among them."""
    samples = (sample for found in metric.collect() for sample in found.samples)
    return [0.0, *(sample.value for sample in samples if not sample.name.endswith("_created"))]

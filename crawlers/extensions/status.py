"""Serves a worker's status while it crawls: its metrics, its health, and the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import structlog
from scrapy import signals
from scrapy.exceptions import CloseSpider, NotConfigured

from crawlers import metrics
from crawlers.exceptions import StartupError
from crawlers.lineage import worker_name
from crawlers.measuring import DOMAINS
from crawlers.status.fleet_metrics import FleetMetrics
from crawlers.status.health import troubles
from crawlers.status.listening import listen, read_ports
from crawlers.status.loop_lag import LoopLag
from crawlers.status.view import FleetView
from crawlers.version import VERSION

if TYPE_CHECKING:
    from socket import socket

    from scrapy.crawler import Crawler

    from crawlers.status.server import StatusServer

log = structlog.get_logger("seine.status")

_AGE = 1.0
"""Seconds that what is told of the fleet may be old."""
_SCRAPED = 5.0
"""The same, of metrics: every worker asks Redis for them."""
_BUSIEST = 10


class WorkerStatus:
    """Opens with the spider and ends with the engine, so that a worker that drains is seen to."""

    def __init__(self, crawler: Crawler, ports: range):
        self._crawler = crawler
        self._ports = ports
        self._server: StatusServer | None = None
        self._view: FleetView | None = None
        self._lag = LoopLag()
        self._has_started = False

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """Raises NotConfigured where STATUS_PORT is empty."""
        ports = read_ports(str(crawler.settings["STATUS_PORT"] or ""))
        if ports is None:
            raise NotConfigured("STATUS_PORT is empty")
        extension = cls(crawler, ports)
        crawler.signals.connect(extension.spider_opened, signal=signals.spider_opened)
        crawler.signals.connect(extension.engine_started, signal=signals.engine_started)
        crawler.signals.connect(extension.engine_stopped, signal=signals.engine_stopped)
        return extension

    async def spider_opened(self) -> None:
        """Listen. Where none of several ports is free a crawl does without; the one that was asked for it must have."""
        settings: Any = self._crawler.settings
        try:
            listening = listen(settings["STATUS_HOST"], self._ports)
        except StartupError as error:
            self._crawler.stats.set_value("startup_error", error)  # type: ignore[union-attr]
            raise CloseSpider("start_error") from None
        if listening is None:
            log.warning("no port is free: nothing serves this worker's metrics", ports=settings["STATUS_PORT"])
            return
        metrics.BUILD.info({"version": VERSION})
        metrics.REQUESTS_ACTIVE.set_function(lambda: len(self._crawler.engine.downloader.active))  # type: ignore[union-attr]
        self._lag.open()
        await self._open(listening)

    async def _open(self, listening: socket) -> None:
        from crawlers.status.guard import is_open
        from crawlers.status.server import StatusServer
        from crawlers.status.serving import address
        from crawlers.status.telling import LatestLetters, Routes

        settings: Any = self._crawler.settings
        self._letters = LatestLetters(settings)
        if settings.getbool("FRONTIER_ENABLED"):
            spider = self._crawler.spider.name  # type: ignore[union-attr]
            self._view = FleetView(settings, spider)
            self._routes = Routes(settings, self._view)
            self._collector = FleetMetrics(spider, lambda: self._view.state)  # type: ignore[union-attr]
            metrics.REGISTRY.register(self._collector)
        token = settings.get("STATUS_TOKEN")
        self._server = StatusServer(
            self._tell, self._troubles, self._refresh, host=settings["STATUS_HOST"], token=token
        )
        await self._server.open(listening)
        log.info("status served", url=address(listening))
        if is_open(settings["STATUS_HOST"], token):
            log.warning("the status is open to whoever reaches it: set STATUS_TOKEN", host=settings["STATUS_HOST"])

    def engine_started(self) -> None:
        """From here on requests are taken."""
        self._has_started = True

    async def engine_stopped(self) -> None:
        """Stop serving."""
        self._lag.close()
        if self._server is not None:
            await self._server.close()
            await self._letters.close()
        if self._view is not None:
            await self._view.close()
            metrics.REGISTRY.unregister(self._collector)

    async def _refresh(self) -> None:
        metrics.LOOP_LAG.set(self._lag.longest)
        if self._view is not None:
            await self._view.look(_SCRAPED)

    async def _troubles(self) -> dict[str, str]:
        engine: Any = self._crawler.engine
        if not self._has_started:
            return {"worker": "starting"}
        if not engine.running or engine._slot is None or engine._slot.closing is not None:
            return {"worker": "draining"}
        return (await self._view.trouble(_SCRAPED) if self._view is not None else {}) | troubles()

    async def _tell(self) -> dict[str, Any]:
        from crawlers.status.telling import told_of_fleet

        state = await self._view.look(_AGE) if self._view is not None else None
        return {
            "version": VERSION,
            "spider": self._crawler.spider.name,  # type: ignore[union-attr]
            "fleet": told_of_fleet(state) if state is not None else None,
            "letters": self._letters.look(),
            "routes": await self._routes.look() if state is not None else [],
            "worker": {**self._told_of_worker(), "troubles": await self._troubles()},
        }

    def _told_of_worker(self) -> dict[str, Any]:
        stats = self._crawler.stats.get_stats()  # type: ignore[union-attr]
        prefixes = {"outcomes": "outcomes/", "items": "items/", "bans": "bans/"}
        counts = {
            name: {key.removeprefix(start): value for key, value in stats.items() if key.startswith(start)}
            for name, start in prefixes.items()
        }
        return {
            "name": worker_name(self._crawler.settings),
            "crawl": getattr(self._crawler.spider, "crawl_id", ""),
            **counts,
            "sites": _sites(),
            "busiest": DOMAINS.busiest(_BUSIEST),
        }


def _sites() -> dict[str, dict[str, Any]]:
    """What this worker knows of each site: requests by outcome, items by fate, when its last product came."""
    found: dict[str, dict[str, Any]] = {}
    for name, counter, label in (("requests", metrics.SITE_REQUESTS, "outcome"), ("items", metrics.SITE_ITEMS, "fate")):
        for sample in (sample for one in counter.collect() for sample in one.samples):
            if sample.name.endswith("_total"):
                site = found.setdefault(sample.labels["site"], {"requests": {}, "items": {}, "last": None})
                site[name][sample.labels[label]] = int(sample.value)
    for sample in (sample for one in metrics.SITE_LAST_PRODUCT.collect() for sample in one.samples):
        found[sample.labels["site"]]["last"] = sample.value
    return found

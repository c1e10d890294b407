"""What the scheduler tells over HTTP: /metrics of its schedules, /healthz, /readyz."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.parser import text_fd_to_metric_families
from prometheus_client.registry import Collector

from crawlers.status.guard import add_headers, guard

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from prometheus_client import Metric

    from deploy.cron.scheduler import Scheduler

_NEXT = "seine_schedule_next_run_timestamp_seconds"
_PREVIOUS = "seine_schedule_previous_run_timestamp_seconds"


class ScheduleMetrics(Collector):
    """What the wrappers of all runs wrote into `folder`, and when the scheduler's are due."""

    def __init__(self, scheduler: Scheduler, folder: Path):
        self._scheduler = scheduler
        self._folder = folder

    def collect(self) -> Iterator[Metric]:
        """Each family once, whatever number of files it is in."""
        families: dict[str, Metric] = {}
        for path in sorted(self._folder.glob("seine_schedule_*.prom")):
            with path.open(encoding="utf-8") as file:
                for family in text_fd_to_metric_families(file):
                    families.setdefault(family.name, family)
                    if families[family.name] is not family:
                        families[family.name].samples.extend(family.samples)
        families.pop(_NEXT, None)
        yield from families.values()
        upcoming = GaugeMetricFamily(_NEXT, "When the next run is due.", labels=("schedule",))
        previous = GaugeMetricFamily(_PREVIOUS, "When a run was last due, happened or not.", labels=("schedule",))
        for planned in self._scheduler.planned:
            for metric, moment in ((upcoming, planned.next), (previous, planned.previous)):
                if moment is not None:
                    metric.add_metric((planned.entry.name,), moment.timestamp())
        yield upcoming
        yield previous


def status_app(scheduler: Scheduler, folder: Path, host: str, token: str | None) -> web.Application:
    """The server's routes on `host`; `token` is what /metrics asks for."""
    registry = CollectorRegistry()
    registry.register(ScheduleMetrics(scheduler, folder))

    async def metrics(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(registry), headers={"Content-Type": content_type})

    async def health(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n") if scheduler.healthy else web.Response(status=503, text="stuck\n")

    app = web.Application(middlewares=[guard(host, token)])
    app.on_response_prepare.append(add_headers)
    app.add_routes([web.get("/metrics", metrics), web.get("/healthz", health), web.get("/readyz", health)])
    return app

"""`scrapy frontier serve`: the status of the fleet, without a worker."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import TYPE_CHECKING, Any

from crawlers import metrics
from crawlers.exceptions import StartupError, UserError
from crawlers.frontier.wiring import uses_frontier
from crawlers.status.fleet_metrics import FleetMetrics
from crawlers.status.guard import is_open
from crawlers.status.listening import listen, read_ports
from crawlers.status.server import StatusServer
from crawlers.status.telling import LatestLetters, Routes, told_of_fleet
from crawlers.status.view import FleetView
from crawlers.version import VERSION

if TYPE_CHECKING:
    import argparse

_AGE = 1.0
"""Seconds that what is told may be old."""


async def serve(settings: Any, args: list[str], opts: argparse.Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C. It is ready while Redis answers."""
    if not uses_frontier(settings):
        raise UserError('REDIS_URL is not set. On a laptop: eval "$(scrapy stack env)"')
    host, ports = settings["STATUS_HOST"], read_ports(str(settings["STATUS_PORT"]))
    if ports is None:
        raise UserError("STATUS_PORT is empty: it is the port to be served on")
    if (listening := listen(host, ports)) is None:
        raise StartupError(f"STATUS_PORT={settings['STATUS_PORT']}: none of them is free")
    metrics.BUILD.info({"version": VERSION})
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    fleet = _Fleet(settings, opts.spider)
    server = StatusServer(fleet.tell, fleet.troubles, fleet.refresh, host=host, token=settings.get("STATUS_TOKEN"))
    try:
        await server.open(listening)
        await fleet.refresh()
        print(f"serving the status of {opts.spider} at {address(listening)}", file=sys.stderr, flush=True)
        if is_open(host, settings.get("STATUS_TOKEN")):
            print(f"it is open to whoever reaches {host}: set STATUS_TOKEN", file=sys.stderr, flush=True)
        await stop.wait()
    finally:
        await server.close()
        await fleet.close()
    return 0


def address(listening: Any) -> str:
    """The URL of a socket that listens."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


class _Fleet:
    def __init__(self, settings: Any, spider: str):
        self.view = FleetView(settings, spider)
        self._spider = spider
        self._letters = LatestLetters(settings)
        self._routes = Routes(settings, self.view)
        metrics.REGISTRY.register(FleetMetrics(spider, lambda: self.view.state))

    async def close(self) -> None:
        await self._letters.close()
        await self.view.close()

    async def refresh(self) -> None:
        await self.view.look(_AGE)

    async def tell(self) -> dict[str, Any]:
        state = await self.view.look(_AGE)
        return {
            "version": VERSION,
            "spider": self._spider,
            "fleet": told_of_fleet(state),
            "letters": self._letters.look(),
            "routes": await self._routes.look(),
            "worker": None,
        }

    async def troubles(self) -> dict[str, str]:
        return await self.view.trouble(_AGE)

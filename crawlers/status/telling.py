"""What the status page is told, as JSON."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaException

from crawlers.dead_letters.topic import LetterTopic
from crawlers.exceptions import SeineError
from crawlers.frontier.verbs.routes import known_of
from crawlers.site_config import load_sites
from crawlers.tasks import end

if TYPE_CHECKING:
    from crawlers.frontier.fleet import Fleet
    from crawlers.monitors.result import SiteResult
    from crawlers.status.view import FleetState, FleetView

_LETTERS = 15
_LETTERS_AGE = 10.0
"""Seconds between two looks at the dead letters' topic."""
_ROUTES_AGE = 15.0
_PATTERNS = 10
"""Of a site, those with most pages."""


def told_of_fleet(state: FleetState) -> dict[str, Any]:
    """The crawls, as `scrapy frontier status --json` tells each, and what is around them."""
    return {
        "error": state.error,
        "crawls": [asdict(one) for one in state.crawls],
        "latest": state.latest,
        "troubled": [asdict(one) for one in state.survey.top if one.circuit != "closed" or one.slow_down > 1],
        "domains": {"known": state.survey.known, "circuits": dict(state.survey.circuits)},
        "judged": [_judged(one) for one in state.judged],
        "memory": [asdict(one) for one in state.memory],
    }


def _judged(result: SiteResult) -> dict[str, Any]:
    why = "; ".join(finding.message for finding in result.findings)
    return {
        "site": result.site,
        "crawl": result.crawl_id,
        "products": result.products,
        "failed": result.failed,
        "why": why,
    }


class LatestLetters:
    """The newest dead letters of the topic, read while somebody looks at the page, and never waited for."""

    def __init__(self, settings: Any):
        self._settings = settings
        self._read_at = float("-inf")
        self._found: list[dict[str, Any]] = []
        self._error = "" if settings.get("KAFKA_BOOTSTRAP_SERVERS") else "KAFKA_BOOTSTRAP_SERVERS is not set"
        self._reading: asyncio.Task[None] | None = None

    def look(self) -> dict[str, Any]:
        """{letters, error}: what is known, and why nothing newer is. Reading begins where that is ten seconds old."""
        is_idle = self._reading is None or self._reading.done()
        if self._settings.get("KAFKA_BOOTSTRAP_SERVERS") and is_idle and monotonic() - self._read_at > _LETTERS_AGE:
            self._reading = asyncio.create_task(self._read())
        return {"letters": self._found, "error": self._error}

    async def close(self) -> None:
        """Wait for no more; a thread that still reads ends by itself."""
        if self._reading is not None:
            await end(self._reading)

    async def _read(self) -> None:
        try:
            self._found, self._error = await asyncio.to_thread(self._latest), ""
        except (SeineError, KafkaException) as error:
            self._error = str(error)
        self._read_at = monotonic()

    def _latest(self) -> list[dict[str, Any]]:
        with LetterTopic(self._settings) as topic:
            found = topic.latest(_LETTERS)
        names = ("time", "stage", "error", "message", "url", "site", "kind", "id")
        return [{name: getattr(one, name) for name in names} for one in found]


class Routes:
    """Which pages of sites with `when = "auto"` the fleet renders."""

    def __init__(self, settings: Any, view: FleetView):
        self._settings = settings
        self._view = view
        self._read_at = float("-inf")
        self._found: list[dict[str, Any]] = []

    async def look(self) -> list[dict[str, Any]]:
        """At most fifteen seconds old. A site's TOML that is wrong is the next start's to tell."""
        if monotonic() - self._read_at > _ROUTES_AGE:
            self._read_at = monotonic()
            with suppress(SeineError, OSError):
                sites = [site.name for site in load_sites(self._settings["SITES_DIR"]) if site.browser.when == "auto"]
                self._found = await self._view.ask(partial(_routes, sites=sites)) or []
        return self._found


async def _routes(fleet: Fleet, sites: list[str]) -> list[dict[str, Any]]:
    found = []
    for site in sites:
        reports = (await known_of(fleet, site)).reports()
        found += [{"site": site, **one.told} for one in reports[:_PATTERNS]]
    return found

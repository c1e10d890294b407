"""What the status page is told, as JSON."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from time import monotonic
from typing import TYPE_CHECKING, Any

from crawlers.dead_letters.topic import LetterTopic
from crawlers.exceptions import SeineError
from crawlers.frontier.verbs.routes import known_of
from crawlers.site_config import load_sites

if TYPE_CHECKING:
    from crawlers.frontier.fleet import Fleet
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
        "memory": [asdict(one) for one in state.memory],
    }


class LatestLetters:
    """The newest dead letters of the topic, read while somebody looks at the page."""

    def __init__(self, settings: Any):
        self._settings = settings
        self._read_at = float("-inf")
        self._found: list[dict[str, Any]] = []
        self.error = ""

    async def look(self) -> list[dict[str, Any]]:
        """At most ten seconds old."""
        if self._settings.get("KAFKA_BOOTSTRAP_SERVERS") and monotonic() - self._read_at > _LETTERS_AGE:
            self._read_at = monotonic()
            try:
                self._found, self.error = await asyncio.to_thread(self._read), ""
            except SeineError as error:
                self.error = str(error)
        return self._found

    def _read(self) -> list[dict[str, Any]]:
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
        """At most fifteen seconds old."""
        if monotonic() - self._read_at > _ROUTES_AGE:
            self._read_at = monotonic()
            self._found = await self._view.ask(self._ask) or []
        return self._found

    async def _ask(self, fleet: Fleet) -> list[dict[str, Any]]:
        found = []
        for site in load_sites(self._settings["SITES_DIR"]):
            if site.browser.when == "auto":
                reports = (await known_of(fleet, site.name)).reports()
                found += [{"site": site.name, **one.told} for one in reports[:_PATTERNS]]
        return found

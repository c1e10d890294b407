"""Switches the frontier on in a crawl's settings."""

from __future__ import annotations

from typing import Any


def uses_frontier(settings: Any) -> bool:
    """Whether a Redis is configured."""
    return bool(settings.get("REDIS_URL") or settings.getlist("REDIS_SENTINELS") or settings.get("REDIS_HOST"))


def enable_frontier(settings: Any) -> None:
    """Where a Redis is configured, let FRONTIER_SETTINGS of settings.py replace Scrapy's own queue and politeness.

    Without one, the process judges its crawl by itself.

    `scrapy crawl` does it; a program that runs a CrawlerProcess of its own calls it on its settings. The other commands
    (`shell`, `parse`, `check`) fetch on their own and join no crawl.
    """
    if uses_frontier(settings):
        settings.setdict(settings.getdict("FRONTIER_SETTINGS"), priority="cmdline")
    else:
        settings.set("OWN_MONITORS", True, priority="cmdline")

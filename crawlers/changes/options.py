"""Whether a crawl tells changes, as its settings say."""

from __future__ import annotations

from typing import Any

from crawlers.exceptions import StartupError
from crawlers.frontier.wiring import uses_frontier

CHANGES = "changes"


def emits_changes(settings: Any) -> bool:
    """Whether EMIT is changes, for a command that has a frontier. StartupError without Redis."""
    if settings["EMIT"] != CHANGES:
        return False
    if not uses_frontier(settings):
        raise StartupError("EMIT=changes needs Redis, which remembers the last crawl: set REDIS_URL, or EMIT=all")
    return bool(settings.getbool("FRONTIER_ENABLED"))

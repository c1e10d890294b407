"""Which domains with a delay a worker goes on with: their next starts are its own to plan while it has some left."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crawlers.frontier.leases import Lease


class Plans:
    """Of one shard. Times are on the worker's monotonic clock, in seconds."""

    def __init__(self, look_ahead: float):
        self._look_ahead = look_ahead
        self._last: dict[str, float] = {}
        """The last start that is planned, by domain."""
        self._due: list[tuple[float, str, float]] = []

    def add(self, lease: Lease) -> None:
        """A lease has come; of a domain without a delay it is no plan."""
        if not lease.delay:
            return
        start = lease.start_at
        self._last[lease.domain] = start
        due = max(start - self._look_ahead / 2, start + lease.delay - self._look_ahead)
        if due < start:
            heapq.heappush(self._due, (due, lease.domain, start))

    def next(self) -> float:
        """When there is a domain to go on with, at the earliest."""
        while self._due and self._last.get(self._due[0][1]) != self._due[0][2]:
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else float("inf")

    def take(self, now: float) -> list[str]:
        """The domains to ask for now; one whose last start has passed is left to a worker that is less late."""
        names = []
        while self.next() <= now:
            _, name, start = heapq.heappop(self._due)
            del self._last[name]
            if now < start:
                names.append(name)
        return names

"""Requests by domain, for the domains that have most of them; all others are summed, however many there are."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client import Metric

OTHERS = "other"
_MOST = 50
_CANDIDATES = 10_000
_CHOICE = 60.0
"""Seconds between two choices of the domains that are told apart."""


@dataclass(slots=True)
class _Row:
    outcomes: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    bytes: int = 0
    lately: int = 0
    """Requests since the last choice."""


class TopDomains(Collector):
    """Counters of at most `most` domains and of the rest. A domain that comes to the top is counted from then on; one
    that falls behind is told no more, so that no series ever falls.
    """

    def __init__(self, most: int = _MOST):
        self._most = most
        self._rows: dict[str, _Row] = {}
        self._rest = _Row()
        self._candidates: Counter[str] = Counter()
        self._chosen_at = monotonic()

    def note(self, domain: str, outcome: str, seconds: float, size: int) -> None:
        """A request to `domain` has ended."""
        row = self._rows.get(domain)
        if row is None:
            row = self._new(domain)
        row.outcomes[outcome] += 1
        row.seconds += seconds
        row.bytes += size
        row.lately += 1

    def collect(self) -> Iterator[Metric]:
        """The counters."""
        if monotonic() - self._chosen_at > _CHOICE:
            self.choose()
        requests = CounterMetricFamily(
            "seine_domain_requests", "Requests of the busiest domains, by outcome.", labels=("domain", "outcome")
        )
        seconds = CounterMetricFamily("seine_domain_latency_seconds", "Until their answers began.", labels=("domain",))
        size = CounterMetricFamily("seine_domain_bytes", "Of their bodies.", labels=("domain",))
        for domain, row in (*self._rows.items(), (OTHERS, self._rest)):
            for outcome, count in row.outcomes.items():
                requests.add_metric((domain, outcome), count)
            seconds.add_metric((domain,), row.seconds)
            size.add_metric((domain,), row.bytes)
        yield from (requests, seconds, size)

    def busiest(self, most: int) -> list[tuple[str, dict[str, int]]]:
        """(domain, requests by outcome) of those with most requests since this process began."""
        rows = sorted(self._rows.items(), key=lambda item: -item[1].outcomes.total())
        return [(domain, dict(row.outcomes)) for domain, row in rows[:most]]

    def choose(self) -> None:
        """Tell those apart that were busiest lately."""
        self._chosen_at = monotonic()
        lately = Counter({domain: row.lately for domain, row in self._rows.items()}) + self._candidates
        # Of equals, those stay that are there: a change costs a series.
        ranked: Iterable[str] = sorted(lately, key=lambda domain: (-lately[domain], domain not in self._rows))
        top = set(list(ranked)[: self._most])
        idle = [domain for domain in self._rows if domain not in lately][: self._most - len(top)]
        self._rows = {domain: self._rows.get(domain) or _Row() for domain in (*top, *idle)}
        self._candidates.clear()
        for row in self._rows.values():
            row.lately = 0

    def _new(self, domain: str) -> _Row:
        if len(self._rows) < self._most:
            self._rows[domain] = _Row()
            return self._rows[domain]
        if domain in self._candidates or len(self._candidates) < _CANDIDATES:
            self._candidates[domain] += 1
        return self._rest

"""The fleet's state as metrics: every process that serves them tells the same, so a dashboard takes the maximum."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from crawlers.frontier.report import BESIDE, LEFT, RIGHT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from prometheus_client import Metric

    from crawlers.frontier.report import Status
    from crawlers.status.view import FleetState

_CIRCUITS = ("closed", "open", "half-open")


class FleetMetrics(Collector):
    """Of a spider's open crawls together, or where none is open, of the latest."""

    def __init__(self, spider: str, state: Callable[[], FleetState]):
        self._spider = spider
        self._state = state

    def collect(self) -> Iterator[Metric]:
        """What is known; nothing of crawls where there has been none, or Redis was never reached."""
        state = self._state()
        yield self._one("seine_redis_up", "1 where the frontier's Redis answers.", float(not state.error))
        if state.crawls:
            yield from self._equation(state.crawls)
            yield from self._waiting(state.crawls)
        if ended := [one["closed"] for one in state.latest if one["closed"]]:
            name, when = "seine_frontier_crawl_completed_timestamp_seconds", datetime.fromisoformat(max(ended))
            yield self._one(name, "When the latest complete one was.", when.timestamp())
        yield from self._domains(state)
        yield from _memory(state)

    def _equation(self, crawls: Sequence[Status]) -> Iterator[Metric]:
        terms: Counter[str] = Counter()
        for one in crawls:
            terms.update(one.left | one.right | one.beside)
        name = "seine_frontier_requests"
        requests = GaugeMetricFamily(name, "Requests by term of the equation.", labels=("spider", "term"))
        for term in (*LEFT, *RIGHT, *BESIDE):
            requests.add_metric((self._spider, term), terms[term])
        yield requests
        yield self._one("seine_frontier_known", "Its left side: seeded and discovered.", sum(c.known for c in crawls))
        accounted = sum(c.accounted for c in crawls)
        yield self._one("seine_frontier_accounted", "Its right side: settled, pending, delayed and leased.", accounted)
        # Where numbers are no longer kept, nothing can be said to be missing.
        leak = sum(abs(c.known - c.accounted) for c in crawls if not c.expired)
        yield self._one("seine_frontier_leak", "Requests that are known and nowhere: 0, always.", leak)

    def _waiting(self, crawls: Sequence[Status]) -> Iterator[Metric]:
        is_open = [one for one in crawls if one.state != "complete"]
        yield self._one("seine_frontier_crawls_open", "Crawls that are not complete.", len(is_open))
        yield self._one(
            "seine_frontier_crawls_running",
            "Those that are neither paused, draining nor cancelled.",
            sum(one.state == "running" for one in is_open),
        )
        yield self._one(
            "seine_frontier_crawl_opened_timestamp_seconds",
            "When the newest was opened.",
            max(one.opened_at for one in crawls),
        )
        alive = {worker.id for one in crawls for worker in one.workers if worker.alive}
        yield self._one("seine_frontier_workers", "Workers with a heartbeat.", len(alive))
        yield self._one(
            "seine_frontier_domains_waiting", "Domains that wait for their turn.", sum(one.domains for one in is_open)
        )
        yield self._one(
            "seine_frontier_letters", "Dead letters that are to be written.", sum(one.letters for one in crawls)
        )
        yield self._one(
            "seine_frontier_oldest_request_seconds",
            "Age of the oldest request without an outcome.",
            max((one.oldest or 0.0 for one in is_open), default=0.0),
        )
        yield self._one(
            "seine_frontier_longest_due_seconds",
            "How long a domain could have been asked, and was not.",
            max((one.longest_due or 0.0 for one in is_open), default=0.0),
        )

    def _domains(self, state: FleetState) -> Iterator[Metric]:
        survey = state.survey
        circuits = GaugeMetricFamily(
            "seine_frontier_circuits", "Domains by the state of their circuit.", labels=("spider", "state")
        )
        for name in _CIRCUITS:
            circuits.add_metric((self._spider, name), survey.circuits[name])
        yield circuits
        yield self._one("seine_frontier_domains_slowed", "Domains that are asked more slowly.", survey.slowed)
        yield self._one("seine_frontier_in_flight", "Requests of the fleet on their way.", survey.in_flight)

    def _one(self, name: str, meaning: str, value: float) -> Metric:
        family = GaugeMetricFamily(name, meaning, labels=("spider",))
        family.add_metric((self._spider,), value)
        return family


def _memory(state: FleetState) -> Iterator[Metric]:
    used = GaugeMetricFamily("seine_redis_memory_bytes", "That a shard's server uses.", labels=("shard",))
    most = GaugeMetricFamily("seine_redis_memory_limit_bytes", "Its maxmemory; 0 is none.", labels=("shard",))
    for one in state.memory:
        used.add_metric((str(one.shard),), one.used)
        most.add_metric((str(one.shard),), one.most)
    yield from (used, most)

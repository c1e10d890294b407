"""The frontier's settings, in the units of its scripts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class FrontierOptions:
    """How leases, retries and politeness behave; settings.py has each setting's meaning."""

    lease_seconds: float = 30.0
    prefetch: int = 64
    look_ahead: int = 500
    """Milliseconds."""
    per_domain: int = 8
    """Leases of a domain in one turn."""
    delay: int = 0
    """Milliseconds between two requests to a domain that has no limits of its own."""
    concurrency: int = 4
    most_attempts: int = 4
    most_losses: int = 10
    retry_base: float = 1.0
    retry_longest: float = 300.0
    breaker_failures: int = 10
    breaker_cool_down: int = 10_000
    breaker_longest: int = 1_800_000
    breaker_openings: int = 5
    outcome_seconds: int = 86_400
    wait_replicas: int = 0
    wait_milliseconds: int = 1000
    drain_seconds: float = 25.0
    slots: int = 0
    """Partitions of the ledger, for exactly once; 0 is at least once."""
    crawl_pages: int = 0
    """Requests of a crawl at most, 0 is no limit; each of several shards takes its share."""
    batch: int = 400
    """Operations of one call to Redis."""
    linger: float = 0.005
    """Seconds between two calls, so that what accumulates goes together."""

    @classmethod
    def from_settings(cls, settings: Any) -> Self:
        """The options that settings.py declares."""
        concurrent = settings.getint("CONCURRENT_REQUESTS")
        return cls(
            lease_seconds=settings.getfloat("FRONTIER_LEASE_SECONDS"),
            prefetch=settings.getint("FRONTIER_PREFETCH") or 2 * concurrent,
            delay=round(settings.getfloat("DOWNLOAD_DELAY") * 1000),
            concurrency=settings.getint("CONCURRENT_REQUESTS_PER_DOMAIN"),
            most_attempts=settings.getint("RETRY_TIMES") + 1,
            most_losses=settings.getint("FRONTIER_LOST_TIMES"),
            retry_base=settings.getfloat("RETRY_BACKOFF_SECONDS"),
            retry_longest=settings.getfloat("RETRY_BACKOFF_LONGEST"),
            breaker_failures=settings.getint("BREAKER_FAILURES"),
            breaker_cool_down=round(settings.getfloat("BREAKER_COOL_DOWN") * 1000),
            breaker_longest=round(settings.getfloat("BREAKER_LONGEST_COOL_DOWN") * 1000),
            breaker_openings=settings.getint("BREAKER_OPENINGS"),
            outcome_seconds=settings.getint("FRONTIER_OUTCOME_SECONDS"),
            wait_replicas=settings.getint("FRONTIER_WAIT_REPLICAS"),
            crawl_pages=settings.getint("FRONTIER_CRAWL_PAGES"),
            slots=settings.getint("KAFKA_SLOTS") if settings["KAFKA_DELIVERY"] == "exactly_once" else 0,
            drain_seconds=settings.getfloat("FRONTIER_DRAIN_SECONDS"),
        )

    @property
    def lease_ms(self) -> int:
        """How long a worker's leases live without a heartbeat, in milliseconds."""
        return round(self.lease_seconds * 1000)


def slots_of(shard: int, shards: int, slots: int) -> range:
    """The slots of exactly once, which are partitions of the ledger, that a shard has."""
    return range(shard, slots, shards)

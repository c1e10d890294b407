"""What a crawl came to, from its stats: told in a few lines on any output."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, Self

import structlog

log = structlog.get_logger("seine.crawl")

_GOOD = ("delivered", "expanded", "empty", "filtered")
_NOWHERE = "nowhere: set KAFKA_BOOTSTRAP_SERVERS, or add -O out.jsonl"
_GOOD_ENDINGS = ("finished", "shutdown", "drained", "cancelled")


@dataclass(frozen=True, slots=True)
class CrawlSummary:
    """Counts of one crawl's end."""

    crawl_id: str
    reason: str
    seconds: float
    outcomes: dict[str, int]
    fates: dict[str, int]
    reasons: dict[str, int]
    """Of dead and filtered requests, and of dead and dropped items: `dead/http 404` and so on."""
    destination: str
    fleet: dict[str, int]
    """With a frontier: the crawl's requests by outcome, of all workers; else empty."""

    @classmethod
    def of(cls, crawler: Any) -> Self:
        """The summary of `crawler`, which has ended."""
        stats = crawler.stats.get_stats()
        topic, servers = crawler.settings["KAFKA_TOPIC_PRODUCTS"], crawler.settings.get("KAFKA_BOOTSTRAP_SERVERS")
        feeds = ", ".join(crawler.settings.getdict("FEEDS"))
        return cls(
            crawl_id=getattr(crawler.spider, "crawl_id", "") or crawler.spider.name,
            reason=stats.get("finish_reason", "unknown"),
            seconds=stats.get("elapsed_time_seconds") or 0.0,
            outcomes=_below(stats, "outcomes/"),
            fates={name: n for name, n in _below(stats, "items/").items() if n and name != "scraped"},
            reasons=_reasons(stats),
            fleet=_below(stats, "frontier/"),
            destination=f"topic {topic} at {servers}" if servers else feeds or _NOWHERE,
        )

    @property
    def pages(self) -> int:
        """Requests that were answered or refused by now."""
        return sum(self.outcomes.values())

    @property
    def failed(self) -> bool:
        """Whether the crawl cannot be called a success: cut short, something undelivered, or nothing but failures."""
        if self.reason not in _GOOD_ENDINGS or self.outcomes.get("pending"):
            return True
        outcomes = self.fleet or self.outcomes
        return self.reason == "finished" and not any(outcomes.get(name) for name in _GOOD)

    def tell(self) -> None:
        """Log it as an event, for whoever reads no text."""
        ending = {
            "ending": "failed" if self.failed else "done",
            "reason": self.reason,
            "seconds": round(self.seconds, 1),
        }
        counts = {"pages": self.outcomes, "products": self.fates, "fleet": self.fleet, "reasons": self.reasons}
        (log.warning if self.failed else log.info)("crawl over", **ending, **counts)

    def print(self) -> None:
        """Write the summary to stderr, which leaves stdout to `-O -`."""
        products = self.fates.get("acknowledged", self.fates.get("passed", 0))
        ending = "FAILED" if self.failed else "done"
        lines = [
            f"crawl {self.crawl_id}: {ending} ({self.reason}) in {self.seconds:.1f} s{self._rates(products)}",
            f"  pages     {self.pages}: {_listed(self.outcomes)}",
            f"  products  {products}: {_listed(self.fates)}",
            f"  records   {self.destination}",
        ]
        if self.fleet:
            lines.insert(1, f"  crawl     {sum(self.fleet.values())}: {_listed(self.fleet)}, by all workers")
        if self.reasons:
            lines.append(f"  reasons   {_listed(self.reasons)}")
        print("\n".join(lines), file=sys.stderr)

    def _rates(self, products: int) -> str:
        if not self.seconds:
            return ""
        return f", {self.pages / self.seconds:.1f} pages/s, {products / self.seconds:.1f} products/s"


def _below(stats: dict[str, Any], prefix: str) -> dict[str, int]:
    """The counts right below `prefix`, not those further down."""
    return {key[len(prefix) :]: value for key, value in stats.items() if key.startswith(prefix) and key.count("/") == 1}


def _reasons(stats: dict[str, Any]) -> dict[str, int]:
    starts = ("outcomes/dead/", "outcomes/filtered/", "outcomes/retried/", "items/dead/", "items/dropped/")
    return {key.partition("/")[2]: value for key, value in stats.items() if key.startswith(starts)}


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items(), key=lambda one: -one[1])) or "none"

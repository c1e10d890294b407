"""Where a crawl stands: its equation, its domains, its workers. Nothing here takes longer because a crawl is large."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from crawlers.frontier.paging import pages, pairs
from crawlers.frontier.queues import DomainStatus, longest_queues
from crawlers.frontier.workers import WorkerStatus, crawls_with_workers, workers_of

if TYPE_CHECKING:
    from crawlers.frontier.crawls import Totals
    from crawlers.frontier.fleet import Fleet

LEFT = ("seeded", "discovered")
RIGHT = ("delivered", "expanded", "redirected", "empty", "filtered", "dead", "pending", "delayed", "leased")
BESIDE = ("duplicates", "retried", "lost", "stale")
_PENDING = ("pending", "delayed", "leased")


@dataclass(slots=True)
class Status:
    """A crawl at one moment; times in seconds."""

    spider: str
    crawl: str
    state: str
    definition: dict[str, Any]
    opened: str
    closed: str | None
    seconds: float
    """That it has been, or was, open."""
    seeding: str
    """open, list (a list seeds it) or done."""
    lists: list[dict[str, Any]]
    """Lists that were seeded into it: source, lines, refused, done."""
    known: int
    accounted: int
    balanced: bool
    left: dict[str, int]
    right: dict[str, int]
    delivered: dict[str, int]
    filtered: dict[str, int]
    dead: dict[str, int]
    beside: dict[str, int]
    letters: int
    """Dead letters that are to be written; the crawl is not complete before."""
    expired: bool
    """Whether its numbers are no longer kept."""
    per_second: dict[str, float]
    """Requests that got an outcome: average, and now, since the last look."""
    oldest: float | None
    """Since the oldest request without an outcome was found, to the minute; None where each has one."""
    longest_due: float | None
    """How long a domain of it could have been asked, at most; None where none could."""
    next_retry: float | None
    domains: int
    """That wait for their turn, parked ones not counted."""
    top: list[DomainStatus]
    workers: list[WorkerStatus]
    also_open: list[str] = field(default_factory=list)

    @property
    def opened_at(self) -> float:
        """Seconds since 1970."""
        return datetime.fromisoformat(self.opened).timestamp()

    @property
    def settled(self) -> int:
        """Requests that have an outcome."""
        return self.accounted - sum(self.right[term] for term in _PENDING)

    def to_json(self) -> str:
        """One object, on one line."""
        return json.dumps(asdict(self))


async def status_of(fleet: Fleet, crawl: str, top: int) -> Status:
    """The status of `crawl`, with its `top` domains."""
    described, totals, now = await fleet.crawls.describe(crawl), await fleet.crawls.totals(crawl), await fleet.now()
    opened, closed = int(described["opened"]), int(described.get("closed", 0))
    seconds = max(0.001, ((closed or now) - opened) / 1000)
    longest_due, next_retry, domains = await _waiting(fleet, crawl, now)
    status = Status(
        fleet.keys.spider,
        crawl,
        described["state"],
        json.loads(described["definition"]),
        opened=_moment(opened),
        closed=_moment(closed) if closed else None,
        seconds=round(seconds, 3),
        seeding=described.get("seeding", "open"),
        lists=await lists_of(fleet, crawl),
        known=totals.known,
        accounted=totals.accounted,
        balanced=totals.balanced,
        left={term: totals.term(term) for term in LEFT},
        right={term: _term(totals, term) for term in RIGHT},
        delivered=totals.by_reason("delivered"),
        filtered=totals.by_reason("filtered"),
        dead=totals.by_reason("dead"),
        beside={term: totals.term(term) for term in BESIDE},
        letters=totals.letters,
        expired=described["state"] == "complete" and not totals.counts,
        per_second={},
        oldest=await _oldest(fleet, crawl, now),
        longest_due=longest_due,
        next_retry=next_retry,
        domains=domains,
        top=await longest_queues(fleet, crawl, await crawls_with_workers(fleet), top),
        workers=await workers_of(fleet, crawl),
        also_open=[name for name in await fleet.open_crawls() if name != crawl],
    )
    status.per_second["average"] = round(status.settled / seconds, 2)
    return status


async def lists_of(fleet: Fleet, crawl: str) -> list[dict[str, Any]]:
    """The lists that were seeded into a crawl, as `scrapy frontier seed` notes them; a page of them."""
    async for page in pages(fleet.connections[0], "HSCAN", f"{fleet.keys.crawl(0, crawl)}:lists", count=100):
        return [{"source": source.decode(), **json.loads(noted)} for source, noted in pairs(page)]
    return []


async def summaries(fleet: Fleet, most: int) -> list[dict[str, Any]]:
    """The latest crawls, the newest first."""
    found = []
    for name in await fleet.crawls.names(most):
        described, totals = await fleet.crawls.describe(name), await fleet.crawls.totals(name)
        if described:
            closed = int(described.get("closed", 0))
            found.append(
                {
                    "crawl": name,
                    "state": described["state"],
                    "opened": _moment(int(described["opened"])),
                    "closed": _moment(closed) if closed else None,
                    "definition": json.loads(described["definition"]),
                    "known": totals.known,
                    "delivered": totals.term("delivered"),
                    "dead": totals.term("dead"),
                    "open": totals.open,
                    "balanced": totals.balanced,
                }
            )
    return found


async def _waiting(fleet: Fleet, crawl: str, now: int) -> tuple[float | None, float | None, int]:
    """(how long a domain has been due, seconds until the next retry, domains that wait)."""
    due, retries, domains = [], [], 0
    for number, connection in fleet.shards():
        root = fleet.keys.crawl(number, crawl)
        count, ready, delayed = await connection.call(
            ("ZCARD", f"{root}:ready"),
            ("ZRANGE", f"{root}:ready", 0, 0, "WITHSCORES"),
            ("ZRANGE", f"{root}:delayed", 0, 0, "WITHSCORES"),
        )
        domains += count
        due += [round((now - float(ready[1])) / 1000, 3)] if ready and float(ready[1]) <= now else []
        retries += [round(max(0.0, float(delayed[1]) - now) / 1000, 3)] if delayed else []
    return max(due, default=None), min(retries, default=None), domains


async def _oldest(fleet: Fleet, crawl: str, now: int) -> float | None:
    """Seconds."""
    found = []
    for number, connection in fleet.shards():
        root = fleet.keys.crawl(number, crawl)
        began = await connection.one("HGET", f"{root}:meta", "began")
        async for page in pages(connection, "HSCAN", f"{root}:ages"):
            found += [now - int(began) - 60_000 * int(minute) for minute, _ in pairs(page)]
    return round(max(found) / 1000, 3) if found else None


def _term(totals: Totals, term: str) -> int:
    return {"leased": totals.leased, "delayed": totals.delayed}.get(term, totals.term(term))


def _moment(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

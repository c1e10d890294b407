"""Parts `calls` and `throughput`: the scheduler's calls, one page after another, without a download.

A page is dequeued, its links are enqueued, and (Seine) its end is told, as the engine would. Seine's background work
is not in the calls: it is in the CPU per operation, from which the bench's own, measured beside, is subtracted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bench.frontier.bench import Bench
from bench.frontier.sides import NOTHING, OURS, REDIS
from bench.frontier.table import Budget, Row, beside, in_turns

LINK_HEAVY = {"domains": 20, "pages": 150, "navigation": 8, "fan": 2}
UNIQUE = {"domains": 20, "pages": 150, "navigation": 0, "fan": 10}
_SPIDER = "bench.frontier.spiders.CallSpider"
_TENTH = Budget(0.1)


@dataclass(slots=True)
class Drive:
    """What one drive of one side measured."""

    seconds: float
    cpu: float
    redis: float
    calls: dict[str, dict[str, float]]
    pages: int

    def count(self, *kinds: str) -> int:
        return int(sum(self.calls[kind]["calls"] for kind in kinds))

    def blocked(self, *kinds: str, per: int | None = None) -> float:
        """Microseconds per call, on average."""
        return 1e6 * sum(self.calls[kind]["sum"] for kind in kinds) / (per or self.count(*kinds) or 1)

    def typical(self, kind: str) -> float:
        """Microseconds of the median call."""
        return 1e6 * self.calls[kind]["median"]

    @property
    def operations(self) -> int:
        return self.count("new", "seen") + self.pages

    @property
    def rate(self) -> float:
        return self.operations / self.seconds


@dataclass(slots=True)
class Drives:
    """The rounds of one pattern of links."""

    of: dict[str, list[Drive]] = field(default_factory=lambda: {OURS: [], REDIS: [], NOTHING: []})

    def each(self, side: str, figure: Any) -> list[float]:
        return [figure(drive) for drive in self.of[side]]

    def row(self, what: str, figure: Any, unit: str, budget: Budget | None = None, digits: int = 1) -> Row:
        return beside(what, self.each(OURS, figure), REDIS, self.each(REDIS, figure), unit, budget, digits)

    def cpu(self, side: str) -> list[float]:
        """Microseconds of the worker's CPU per operation, without the bench's own."""
        pairs = zip(self.of[side], self.of[NOTHING], strict=True)
        return [1e6 * (drive.cpu - own.cpu) / drive.operations for drive, own in pairs]


_measured: dict[str, Drives] = {}


def _drives(bench: Bench, name: str, graph: dict[str, int]) -> Drives:
    """Measured once, though two parts tell of them."""
    if name not in _measured:
        drives = _measured[name] = Drives()
        for number in range(bench.rounds):
            for side in in_turns(list(drives.of), number):
                drives.of[side].append(_drive(bench, side, graph))
                bench.say(f"{name}, round {number + 1}  {side:<13}{drives.of[side][-1].rate:10,.0f} operations/s")
    return _measured[name]


def _drive(bench: Bench, side: str, graph: dict[str, int]) -> Drive:
    found = bench.job(side, graph, spider=_SPIDER).run()
    pages = graph["domains"] * graph["pages"]
    return Drive(found["seconds"], found["used"], found["redis"], found["calls"], pages)


def calls(bench: Bench) -> list[Row]:
    """How long the engine is blocked per call, and what CPU a call takes in the end."""
    heavy, unique = _drives(bench, "link-heavy", LINK_HEAVY), _drives(bench, "unique", UNIQUE)
    return [
        unique.row("blocked per enqueue of a new URL, mean", lambda d: d.blocked("new"), "µs", _TENTH),
        unique.row("  median", lambda d: d.typical("new"), "µs", _TENTH),
        heavy.row("blocked per enqueue, 9 of 10 seen, mean", lambda d: d.blocked("new", "seen"), "µs", _TENTH),
        heavy.row("  median of a seen URL", lambda d: d.typical("seen"), "µs", _TENTH),
        unique.row("blocked per dequeue, mean", lambda d: d.blocked("dequeue", per=d.pages), "µs", _TENTH),
        unique.row("  median", lambda d: d.typical("dequeue"), "µs", _TENTH),
        unique.row("  with telling the request's end, mean", _dequeue_and_end, "µs", _TENTH),
        beside("CPU per operation, unique URLs, background included", unique.cpu(OURS), REDIS, unique.cpu(REDIS), "µs"),
        beside("  9 of 10 links seen", heavy.cpu(OURS), REDIS, heavy.cpu(REDIS), "µs"),
        unique.row("Redis's CPU per operation, unique URLs", _redis_cpu, "µs"),
        heavy.row("  9 of 10 links seen", _redis_cpu, "µs"),
    ]


def throughput(bench: Bench) -> list[Row]:
    """Enqueued and dequeued until nothing is left and everything is confirmed, per second."""
    heavy, unique = _drives(bench, "link-heavy", LINK_HEAVY), _drives(bench, "unique", UNIQUE)
    return [
        heavy.row("operations per second, 9 of 10 links seen", lambda d: d.rate, "/s", Budget(least=10), 0),
        unique.row("operations per second, unique URLs", lambda d: d.rate, "/s", Budget(least=5), 0),
    ]


def _dequeue_and_end(drive: Drive) -> float:
    return drive.blocked("dequeue", "end", per=drive.pages)


def _redis_cpu(drive: Drive) -> float:
    return 1e6 * drive.redis / drive.operations

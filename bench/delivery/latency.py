"""Part `latency`: from the moment that a page is answered to the moment that a consumer has its record.

Real workers crawl, so that everything between is in it: the response's way through Scrapy, the extraction, all item
pipelines, Kafka, and in the one mode the transaction with its settlement in Redis. The load is half of what the same
worker makes of a site that answers at once, in the same round.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median, quantiles

from bench.delivery.arrivals import Arrival
from bench.delivery.bench import Bench
from bench.delivery.crawl import crawl
from bench.frontier.table import Budget, Row, in_turns
from pipelines.delivery import AT_LEAST_ONCE, EXACTLY_ONCE

_PAGES_AT_FULL_LOAD = 2000
_WARM_UP = 0.2
"""The part of a crawl that is not measured."""


@dataclass(slots=True)
class Rounds:
    """Of one mode."""

    full: list[float] = field(default_factory=list)
    """Pages per second of a site that answers at once."""
    half: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    """Milliseconds."""
    p99: list[float] = field(default_factory=list)

    def add(self, full: list[Arrival], half: list[Arrival]) -> None:
        times = quantiles([one.latency for one in half], n=100, method="inclusive")
        self.full.append(_rate(full))
        self.half.append(_rate(half))
        self.p50.append(times[49])
        self.p99.append(times[98])


def latency(bench: Bench) -> list[Row]:
    """p50 and p99 at half load, in both modes; they take turns."""
    found = {AT_LEAST_ONCE: Rounds(), EXACTLY_ONCE: Rounds()}
    for number in range(bench.rounds):
        for mode in in_turns(list(found), number):
            rounds = found[mode]
            full = _steady(crawl(bench, mode, _PAGES_AT_FULL_LOAD))
            rate = _rate(full) / 2
            half = _steady(crawl(bench, mode, round(rate * bench.seconds / (1 - _WARM_UP)), rate))
            rounds.add(full, half)
            bench.say(
                f"latency, round {number + 1}  {mode:<14}{rounds.full[-1]:6.0f} pages/s, at {rounds.half[-1]:.0f}: "
                f"p50 {rounds.p50[-1]:.0f} ms, p99 {rounds.p99[-1]:.0f} ms"
            )
    return [*_rows(AT_LEAST_ONCE, found, Budget(100)), *_rows(EXACTLY_ONCE, found)]


def _rows(mode: str, found: dict[str, Rounds], budget: Budget | None = None) -> list[Row]:
    rounds, words = found[mode], mode.replace("_", " ")
    load = f"{median(rounds.half):.0f} of {median(rounds.full):.0f} pages/s"
    return [
        Row(f"response to consumer, {words}, {load}: p50", median(rounds.p50), "ms", digits=0),
        Row("  p99", median(rounds.p99), "ms", budget=budget, digits=0),
    ]


def _steady(arrivals: list[Arrival]) -> list[Arrival]:
    return arrivals[int(_WARM_UP * len(arrivals)) :]


def _rate(arrivals: list[Arrival]) -> float:
    """Answers per second."""
    return 1e9 * (len(arrivals) - 1) / (arrivals[-1].answered - arrivals[0].answered)

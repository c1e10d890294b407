"""Part `scale`: several workers on one crawl of many domains.

With pages that take a tenth of a second no core is ever full, and the workers should add up. With pages that take no
time each worker takes all the CPU that it gets: what more of them bring ends where the cores do.
"""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench.frontier.bench import Bench
from bench.frontier.sides import OURS
from bench.frontier.table import Budget, Row, beside, in_turns
from bench.frontier.worker import Job

_WORKERS = (1, 2, 4)
_PACED = {"domains": 500, "pages": 4, "navigation": 4, "fan": 2}
_INSTANT = {"domains": 500, "pages": 12, "navigation": 8, "fan": 2}
_SECONDS_TO_START = 60.0


@dataclass(slots=True)
class Fleet:
    """The rounds of a number of workers."""

    rate: list[float] = field(default_factory=list)
    """Pages per second."""
    per_cpu: list[float] = field(default_factory=list)
    """Pages per second of the workers' CPU."""


def scale(bench: Bench) -> list[Row]:
    """Pages per second of 1, 2 and 4 workers."""
    paced = _measured(bench, _PACED, {"BENCH_LATENCY": 0.1, "CONCURRENT_REQUESTS": 10})
    instant = _measured(bench, _INSTANT, {})
    rows = []
    for number in _WORKERS[1:]:
        what = f"pages/s, {number} workers, 0.1 s a page"
        budget = Budget(least=0.9 * number)
        rows.append(beside(what, paced[number].rate, "1 worker", paced[1].rate, "/s", budget, 0))
    for number in _WORKERS[1:]:
        what = f"pages/s, {number} workers, no time a page, {os.cpu_count()} cores"
        rows.append(beside(what, instant[number].rate, "1 worker", instant[1].rate, "/s", digits=0))
        rows.append(beside("  per second of CPU", instant[number].per_cpu, "1 worker", instant[1].per_cpu, digits=0))
    return rows


def _measured(bench: Bench, graph: dict[str, int], settings: dict[str, float]) -> dict[int, Fleet]:
    fleets = {number: Fleet() for number in _WORKERS}
    for turn in range(bench.rounds):
        for name in in_turns([str(number) for number in _WORKERS], turn):
            number = int(name)
            rate, per_cpu = _crawl(bench, graph, settings, number)
            fleets[number].rate.append(rate)
            fleets[number].per_cpu.append(per_cpu)
            bench.say(f"scale, round {turn + 1}  {number} workers {rate:8.0f} pages/s {per_cpu:8.0f} per second of CPU")
    return fleets


def _crawl(bench: Bench, graph: dict[str, int], settings: dict[str, float], number: int) -> tuple[float, float]:
    """(pages per second, per second of CPU) of one crawl by `number` workers that begin together."""
    bench.empty()
    with tempfile.TemporaryDirectory(prefix="seine-bench-") as folder, ExitStack() as stack:
        job = Job(OURS, bench.server.url, graph, settings={**settings, "BENCH_GATE": folder})
        workers = [stack.enter_context(job.start()) for _ in range(number)]
        _open(Path(folder), number)
        results = [worker.result() for worker in workers]
    pages = sorted(moment for result in results for moment in result["pages"])
    total = graph["domains"] * graph["pages"]
    if len(pages) != total:
        raise SystemExit(f"{number} workers worked on {len(pages)} of {total} pages")
    return total / (pages[-1] - pages[0]), total / sum(result["cpu"] for result in results)


def _open(gate: Path, number: int) -> None:
    """Let the workers begin once all of them are there."""
    deadline = time.monotonic() + _SECONDS_TO_START
    while len(list(gate.iterdir())) < number:
        if time.monotonic() > deadline:
            raise SystemExit(f"{number} workers have not started in {_SECONDS_TO_START:g} s")
        time.sleep(0.05)
    time.sleep(0.5)
    (gate / "go").touch()

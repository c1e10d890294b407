"""Part `cpu`: CPU per page of a whole crawl in a real engine, where no page takes any time to come."""

from __future__ import annotations

from bench.frontier.bench import Bench
from bench.frontier.sides import OURS, PLAIN, REDIS
from bench.frontier.table import Budget, Row, beside, in_turns

GRAPH = {"domains": 8, "pages": 400, "navigation": 18, "fan": 2}


def cpu(bench: Bench) -> list[Row]:
    """Worker's CPU from the opening of the spider to its end, all threads; Redis's beside."""
    worker: dict[str, list[float]] = {side: [] for side in (OURS, PLAIN, REDIS)}
    redis: dict[str, list[float]] = {side: [] for side in (OURS, PLAIN, REDIS)}
    total = GRAPH["domains"] * GRAPH["pages"]
    for number in range(bench.rounds):
        for side in in_turns(list(worker), number):
            job = bench.job(side, GRAPH)
            before = bench.server.cpu
            found = job.run()
            if len(found["pages"]) != total:
                raise SystemExit(f"{side} worked on {len(found['pages'])} of {total} pages")
            worker[side].append(1000 * found["cpu"] / total)
            redis[side].append(1000 * (bench.server.cpu - before) / total)
            bench.say(f"cpu, round {number + 1}  {side:<13}{worker[side][-1]:6.3f} ms per page")
    return [
        beside("worker's CPU per page of 20 links", worker[OURS], PLAIN, worker[PLAIN], "ms", Budget(1), 2),
        beside("", worker[OURS], REDIS, worker[REDIS], "ms", digits=2),
        beside("Redis's CPU per page", redis[OURS], REDIS, redis[REDIS], "ms", digits=2),
    ]

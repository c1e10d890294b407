"""The workers of a crawl, as the others know them: by their heartbeats and their leases."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crawlers.frontier.paging import pairs

if TYPE_CHECKING:
    from crawlers.frontier.fleet import Fleet

_MOST = 1000
"""Workers of a shard that are looked at."""


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """One worker of the crawl, or one that adds seeds to it."""

    id: str
    name: str
    pid: int
    leases: int
    heartbeat: float
    """Seconds since its last one, by this command's FRONTIER_LEASE_SECONDS."""
    alive: bool
    """Whether its leases are still its own."""


async def workers_of(fleet: Fleet, crawl: str) -> list[WorkerStatus]:
    """The workers of a crawl, those among them whose heartbeat stopped and whose leases have not returned yet."""
    now = await fleet.now()
    found: dict[str, WorkerStatus] = {}
    for number, connection in fleet.shards():
        shard, root = fleet.keys.shard(number), fleet.keys.crawl(number, crawl)
        registered = await _registered(fleet, number)
        told = await connection.call(*(("HMGET", f"{shard}:worker:{one}", "crawl", "info") for one, _ in registered))
        held = await connection.call(*(("SCARD", f"{shard}:held:{one}") for one, _ in registered))
        for (worker, until), (of, info), leases in zip(registered, told, held, strict=True):
            if of == root.encode() and info is not None:
                before = found[worker].leases if worker in found else 0
                found[worker] = _worker(fleet, worker, json.loads(info), leases + before, until - now)
    return sorted(found.values(), key=lambda one: one.name)


async def crawls_with_workers(fleet: Fleet) -> list[set[str]]:
    """For each shard, the roots of the keys of all crawls that have workers there."""
    found = []
    for number, connection in fleet.shards():
        shard = fleet.keys.shard(number)
        names = [worker for worker, _ in await _registered(fleet, number)]
        crawls = await connection.call(*(("HGET", f"{shard}:worker:{name}", "crawl") for name in names))
        found.append({crawl.decode() for crawl in crawls if crawl is not None})
    return found


async def _registered(fleet: Fleet, number: int) -> list[tuple[str, float]]:
    """(worker, moment that its leases expire, in milliseconds)."""
    shard = fleet.keys.shard(number)
    flat = await fleet.connections[number].one("ZREVRANGE", f"{shard}:workers", 0, _MOST - 1, "WITHSCORES")
    return [(worker.decode(), float(until)) for worker, until in pairs(flat)]


def _worker(fleet: Fleet, id_: str, info: dict[str, Any], leases: int, remaining: float) -> WorkerStatus:
    name, pid = str(info.get("name", id_)), int(info.get("pid", 0))
    heartbeat = max(0.0, fleet.options.lease_seconds - remaining / 1000)
    return WorkerStatus(id_, name, pid, leases, round(heartbeat, 1), alive=remaining > 0)

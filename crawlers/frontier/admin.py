"""What an operator does to a crawl, also while workers are at it: dead requests fetched again, a crawl removed."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import msgpack

from crawlers.exceptions import UserError
from crawlers.frontier.paging import pages, pairs
from crawlers.frontier.scripts import run
from crawlers.frontier.workers import workers_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from crawlers.frontier.fleet import Fleet

_BATCH = 200
_HOLD_MS = 60_000
"""That a crawl stays open for without a word from who adds requests to it."""
_PASSES = 3
"""Over a crawl's keys: a worker that was just at it may write once more."""


async def set_state(fleet: Fleet, crawl: str, state: str) -> str:
    """The state that the crawl had. UserError where it is complete."""
    now, had = await fleet.crawls.set_state(crawl, state)
    if now != state:
        raise UserError(f"crawl {crawl} is {now}: it cannot be {state}")
    return had


async def requeue_dead(fleet: Fleet, crawl: str, reason: str | None, domain: str | None) -> int:
    """Give dead requests all their attempts again, those of `reason` and `domain` where given; how many there were.

    A crawl that was complete is open again.
    """
    holder, revived = f"requeue-{secrets.token_hex(4)}", 0
    [state] = await fleet.crawls.seeding(crawl, holder, "hold", _HOLD_MS)
    try:
        for number, connection in fleet.shards():
            roots = fleet.keys.shard(number), fleet.keys.crawl(number, crawl)
            async for ids in _dead(fleet, number, crawl, reason, domain):
                if state == "complete":
                    await fleet.crawls.reopen(crawl)
                [state] = await fleet.crawls.seeding(crawl, holder, "hold", _HOLD_MS)
                revived += await connection.one(*run("revive", *roots, *ids))
    finally:
        await fleet.crawls.seeding(crawl, holder, "hold", 0)
    return revived


async def _dead(
    fleet: Fleet, number: int, crawl: str, reason: str | None, domain: str | None
) -> AsyncIterator[list[bytes]]:
    """Batches of the ids of dead requests."""
    if domain is not None and fleet.keys.shard_of(domain) != number:
        return
    async for page in pages(
        fleet.connections[number], "HSCAN", f"{fleet.keys.crawl(number, crawl)}:dead", count=_BATCH
    ):
        ids = [id_ for id_, packed in pairs(page) if _is_meant(packed, reason, domain)]
        for first in range(0, len(ids), _BATCH):
            yield ids[first : first + _BATCH]


def _is_meant(packed: bytes, reason: str | None, domain: str | None) -> bool:
    of, _, _, _, reasons = msgpack.unpackb(packed, raw=True)
    return (domain is None or of == domain.encode()) and (reason is None or reasons[-1] == reason.encode())


async def complete_crawls(fleet: Fleet) -> list[str]:
    """Every crawl that is complete."""
    registry, connection, found = fleet.keys.registry, fleet.connections[0], []
    async for page in pages(connection, "ZSCAN", f"{registry}:crawls", count=_BATCH):
        names = [name.decode() for name, _ in pairs(page)]
        states = await connection.call(*(("HGET", f"{registry}:crawl:{name}", "state") for name in names))
        found += [name for name, state in zip(names, states, strict=True) if state == b"complete"]
    return found


async def purge(fleet: Fleet, crawl: str, *, force: bool) -> int:
    """Remove a crawl, with everything that is known of it; how many keys there were.

    UserError where workers are at it, unless `force`: what they hold is then nobody's.
    """
    workers = await workers_of(fleet, crawl)
    alive = [worker.name for worker in workers if worker.alive]
    if alive and not force:
        raise UserError(f"crawl {crawl} has workers: {', '.join(alive[:5])}. Cancel it first, or add --force")
    for state in ("cancelled", "complete"):  # nobody joins it any more, and what is cut off here can be done again
        await fleet.crawls.set_state(crawl, state)
    removed = 0
    for number, connection in fleet.shards():
        roots = fleet.keys.shard(number), fleet.keys.crawl(number, crawl)
        await connection.one("DEL", f"{roots[1]}:meta")
        for worker in workers:  # their places in domains are free again
            options = fleet.options
            await connection.one(*run("reap", *roots, options.lease_ms, options.most_losses, options.delay, worker.id))
        for _ in range(_PASSES):
            if not (count := await _remove(fleet, number, crawl)):
                break
            removed += count
    await fleet.crawls.set_state(crawl, "gone")
    return removed


async def _remove(fleet: Fleet, number: int, crawl: str) -> int:
    removed, roots = 0, (fleet.keys.shard(number), fleet.keys.crawl(number, crawl))
    async for batch in fleet.crawls.keys_of(crawl, number):
        for first in range(0, len(batch), _BATCH):
            await fleet.connections[number].one(*run("purge", *roots, *batch[first : first + _BATCH]))
        removed += len(batch)
    return removed

"""What an operator does to a crawl, also while workers are at it: dead requests fetched again, a crawl removed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgpack

from crawlers.exceptions import UserError
from crawlers.frontier.paging import pages, pairs
from crawlers.frontier.reviving import DONE, TAKEN, Dead, Reviving
from crawlers.frontier.scripts import run
from crawlers.frontier.workers import workers_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from crawlers.frontier.fleet import Fleet

_BATCH = 200
_PASSES = 3
"""Over a crawl's keys: a worker that was just at it may write once more."""


async def set_state(fleet: Fleet, crawl: str, state: str) -> str:
    """The state that the crawl had. UserError where it is complete."""
    now, had = await fleet.crawls.set_state(crawl, state)
    if now != state:
        raise UserError(f"crawl {crawl} is {now}: it cannot be {state}")
    return had


class Requeued(NamedTuple):
    """What became of dead requests that were to be fetched again."""

    revived: int = 0
    lost: int = 0
    """Somebody else was first: they are not dead any more."""
    taken: int = 0
    """Their items are being replayed."""


async def requeue_dead(fleet: Fleet, crawl: str, reason: str | None, domain: str | None) -> Requeued:
    """Give dead requests all their attempts again, those of `reason` and `domain` where given.

    A crawl that was complete is open again.
    """
    told: list[str] = []
    async with Reviving(fleet, crawl) as reviving:
        for number, _ in fleet.shards():
            async for dead in _dead(fleet, number, crawl, reason, domain):
                told += await reviving.queue(number, dead)
    return Requeued(told.count(DONE), len(told) - told.count(DONE) - told.count(TAKEN), told.count(TAKEN))


async def _dead(
    fleet: Fleet, number: int, crawl: str, reason: str | None, domain: str | None
) -> AsyncIterator[list[Dead]]:
    """Batches of dead requests."""
    if domain is not None and fleet.keys.shard_of(domain) != number:
        return
    async for page in pages(
        fleet.connections[number], "HSCAN", f"{fleet.keys.crawl(number, crawl)}:dead", count=_BATCH
    ):
        found = [Dead.read(id_, packed) for id_, packed in pairs(page) if _is_meant(packed, reason, domain)]
        for first in range(0, len(found), _BATCH):
            yield found[first : first + _BATCH]


def _is_meant(packed: bytes, reason: str | None, domain: str | None) -> bool:
    of, _, _, _, reasons, *_ = msgpack.unpackb(packed, raw=True)
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

    UserError where workers are at it, unless `force`: what they hold is then nobody's. Also where dead letters are
    still to be written.
    """
    workers = await workers_of(fleet, crawl)
    alive = [worker.name for worker in workers if worker.alive]
    if alive and not force:
        raise UserError(f"crawl {crawl} has workers: {', '.join(alive[:5])}. Cancel it first, or add --force")
    if not force and (letters := (await fleet.crawls.totals(crawl)).letters):
        raise UserError(
            f"crawl {crawl} has {letters:,} dead letters to be written. Let a worker join it, or add --force"
        )
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

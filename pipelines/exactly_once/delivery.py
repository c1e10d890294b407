"""Exactly once in a worker: a slot machine for each shard, and a sweeper for what others left in the middle."""

from __future__ import annotations

import asyncio
import secrets
from time import monotonic
from typing import TYPE_CHECKING, Any

import structlog

from crawlers.exceptions import StartupError
from crawlers.frontier.connection import AWAY
from crawlers.sink_load import SinkLoad
from crawlers.tasks import end
from pipelines.dead_letter import DeadLetters
from pipelines.exactly_once.ledger import Ledger
from pipelines.exactly_once.machine import SlotMachine
from pipelines.exactly_once.queue import ShardQueue
from pipelines.exactly_once.slots import Slots
from pipelines.exactly_once.transactions import Transactions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scrapy.crawler import Crawler

    from crawlers.changes.notes import Note
    from crawlers.frontier.connection import Servers
    from crawlers.frontier.frontier import Frontier
    from crawlers.frontier.leases import Lease
    from pipelines.producer import Record

log = structlog.get_logger("seine.exactly_once")

_SWEEP = 1.0
"""Seconds between two looks for slots that were left in the middle."""
_SWEEPERS = 8
"""Slots that are resolved at once: after a restart of Redis, all of them are to be."""


class ExactlyOnce:
    """Of one crawl that a worker works on. `failed` is called when it cannot go on."""

    def __init__(self, crawler: Crawler, servers: Servers, frontier: Frontier, failed: Callable[[], None]):
        self._settings = crawler.settings
        self._servers = servers
        self._frontier = frontier
        self._failed = failed
        self._ledger = Ledger(crawler.settings)
        self._deadline = float("inf")
        self._is_closed = False
        load, letters = SinkLoad.of(crawler), DeadLetters.of(crawler)
        self._shards = range(frontier.keys.shards)
        self._queues = [ShardQueue(crawler, frontier, shard, load, letters) for shard in self._shards]
        self._tasks: list[asyncio.Task[None]] = []
        self._helpers: list[asyncio.Task[None]] = []

    def open(self) -> None:
        """Claim slots, and begin to commit."""
        for shard, queue in enumerate(self._queues):
            slots = Slots(self._servers, self._frontier, shard)
            machine = SlotMachine(slots, self._ledger, self._open_transactions, self._is_given_up, owner=queue)
            self._tasks.append(asyncio.create_task(self._run(machine, slots)))
            self._helpers.append(asyncio.create_task(self._sweep(shard)))
        self._helpers.append(asyncio.create_task(self._wake_after_restarts()))

    def may_lease(self, shard: int) -> bool:
        """Whether what is fetched could be committed: another worker with a slot serves requests better."""
        return self._queues[shard].has_slot

    def deliver(
        self, lease: Lease, outcome: str, reason: str, records: list[Record], notes: Sequence[Note] = ()
    ) -> None:
        """Commit `records` together with the settlement of `lease`, which writes `notes` on products."""
        self._queues[lease.shard].add(lease, outcome, reason, records, notes)

    async def close(self, seconds: float) -> bool:
        """Commit what has ended; False where it could not be within `seconds`, and returns to the frontier."""
        self._deadline = monotonic() + seconds
        for queue in self._queues:
            queue.drain(self._deadline)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds + _SWEEP)
        self._is_closed = True
        await end(*self._tasks, *self._helpers)
        is_all = not any(queue.in_flight for queue in self._queues)
        for queue in self._queues:
            queue.give_up()
        return is_all

    def _is_given_up(self) -> bool:
        return self._is_closed or monotonic() > self._deadline

    def _open_transactions(self, slot: int) -> Transactions:
        name = f"{self._frontier.keys.namespace}-{self._ledger.topic}-{slot}"
        return Transactions(self._settings, name, self._is_given_up)

    async def _run(self, machine: SlotMachine, slots: Slots) -> None:
        try:
            await machine.run()
        except Exception:
            log.exception("slot machine failed")
            self._failed()
        else:
            if machine.trouble is not None:
                self._failed()
        finally:
            await slots.close()

    async def _sweep(self, shard: int) -> None:
        """Resolve what other workers left in the middle."""
        slots = Slots(self._servers, self._frontier, shard)
        try:
            while True:
                left = await self._left(slots)
                machines = [
                    SlotMachine(slots, self._ledger, self._open_transactions, self._is_given_up, left=one)
                    for one in left
                ]
                for ended in await asyncio.gather(*(machine.run() for machine in machines), return_exceptions=True):
                    if isinstance(ended, Exception):
                        log.error("slot cannot be resolved", error=str(ended))
                if not left:
                    await asyncio.sleep(_SWEEP)
        finally:
            await slots.close()

    @staticmethod
    async def _left(slots: Slots) -> list[tuple[int, str]]:
        """(slot, claim) of each slot that was left, and is claimed now."""
        found: list[tuple[int, str]] = []
        try:
            while len(found) < _SWEEPERS:
                claim = secrets.token_hex(16)
                if (slot := await slots.claim(claim, only_left=True)) is None:
                    break
                found.append((slot, claim))
        except AWAY:
            pass
        return found

    async def _wake_after_restarts(self) -> None:
        """After another Redis every slot is to be compared with its ledger, and nobody leases until then."""
        while True:
            await self._frontier.restart_after(self._frontier.restarts)
            for queue in self._queues:
                queue.wake()


def check_slots(settings: Any) -> None:
    """Raises StartupError where exactly once cannot be: no frontier, no Kafka, a ledger that does not fit. Blocks."""
    if not settings.get("FRONTIER_ENABLED"):
        raise StartupError("KAFKA_DELIVERY=exactly_once needs a frontier: set REDIS_URL")
    if not settings.get("KAFKA_BOOTSTRAP_SERVERS"):
        raise StartupError("KAFKA_DELIVERY=exactly_once needs Kafka: set KAFKA_BOOTSTRAP_SERVERS")
    there, asked, topic = Ledger(settings).partitions(), settings.getint("KAFKA_SLOTS"), settings["KAFKA_TOPIC_LEDGER"]
    if there != asked:
        raise StartupError(f"{topic} has {there} partitions and KAFKA_SLOTS is {asked}: set KAFKA_SLOTS={there}")
    if asked < settings.getint("FRONTIER_SHARDS"):
        raise StartupError(f"KAFKA_SLOTS={asked}: expected FRONTIER_SHARDS times the number of workers")

"""Exactly once in a worker: a slot machine for each shard, and a sweeper for what others left in the middle."""

from __future__ import annotations

import asyncio
import contextlib
from time import monotonic
from typing import TYPE_CHECKING

import structlog

from crawlers.exceptions import StartupError
from crawlers.sink_load import SinkLoad
from pipelines.dead_letter import DeadLetters
from pipelines.exactly_once.ledger import Ledger
from pipelines.exactly_once.machine import SlotMachine
from pipelines.exactly_once.queue import ShardQueue
from pipelines.exactly_once.slots import Slots
from pipelines.exactly_once.transactions import Transactions

if TYPE_CHECKING:
    from collections.abc import Callable

    from scrapy.crawler import Crawler

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
    """Of one crawl that a worker works on."""

    def __init__(self, crawler: Crawler, servers: Servers, frontier: Frontier, failed: Callable[[Exception], None]):
        self._settings = crawler.settings
        self._servers = servers
        self._frontier = frontier
        self._failed = failed
        self._shards = frontier.keys.shards
        self._ledger = Ledger(crawler.settings)
        load, letters = SinkLoad.of(crawler), DeadLetters.of(crawler)
        shards = range(self._shards)
        self._queues = [ShardQueue(crawler, frontier, shard, load, letters) for shard in shards]
        self._machines = [self._machine(shard, self._queues[shard]) for shard in shards]
        self._deadline = float("inf")
        self._tasks: list[asyncio.Task[None]] = []

    def open(self) -> None:
        """Claim slots, and begin to commit."""
        for shard, machine in enumerate(self._machines):
            self._tasks.append(asyncio.create_task(self._run(machine), name=f"slot of shard {shard}"))
        self._sweeper = asyncio.create_task(self._sweep())

    def may_lease(self) -> bool:
        """Whether what is fetched could be committed: another worker with a slot serves requests better."""
        return all(queue.has_slot for queue in self._queues)

    def deliver(self, lease: Lease, outcome: str, reason: str, records: list[Record]) -> None:
        """Commit `records` together with the settlement of `lease`."""
        self._queues[lease.shard].add(lease, outcome, reason, records)

    async def close(self, seconds: float) -> bool:
        """Commit what has ended; False where it could not be within `seconds`, and returns to the frontier."""
        self._deadline = monotonic() + seconds
        for queue in self._queues:
            queue.drain(self._deadline)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds + _SWEEP)
        self._sweeper.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, self._sweeper, return_exceptions=True)
        for queue in self._queues:
            queue.give_up()
        return not any(queue.in_flight for queue in self._queues)

    def _machine(self, shard: int, queue: ShardQueue | None = None) -> SlotMachine:
        """Without a queue, one that resolves a slot that was left."""

        def partition_of(slot: int) -> int:
            return slot * self._shards + shard

        def open_transactions(slot: int) -> Transactions:
            name = f"{self._frontier.keys.namespace}-{self._ledger.topic}-{partition_of(slot)}"
            return Transactions(self._settings, name, lambda: monotonic() > self._deadline)

        slots = Slots(self._servers, self._frontier, shard)
        return SlotMachine(slots, self._ledger, open_transactions, partition_of, queue)

    async def _run(self, machine: SlotMachine) -> None:
        try:
            await machine.run()
        except Exception as error:
            log.exception("slot machine failed")
            self._failed(error)
        else:
            if machine.trouble is not None:
                self._failed(machine.trouble)

    async def _sweep(self) -> None:
        while True:
            sweepers = [self._machine(shard) for shard in range(self._shards) for _ in range(_SWEEPERS)]
            with contextlib.suppress(Exception):
                await asyncio.gather(*(self._run(sweeper) for sweeper in sweepers))
            if not any(sweeper.has_swept for sweeper in sweepers):
                await asyncio.sleep(_SWEEP)


def check_slots(settings: object) -> None:
    """Raises StartupError where exactly once cannot be: no frontier, no Kafka, a ledger that does not fit. Blocks."""
    if not settings.get("FRONTIER_ENABLED"):  # type: ignore[attr-defined]
        raise StartupError("KAFKA_DELIVERY=exactly_once needs a frontier: set REDIS_URL")
    if not settings.get("KAFKA_BOOTSTRAP_SERVERS"):  # type: ignore[attr-defined]
        raise StartupError("KAFKA_DELIVERY=exactly_once needs Kafka: set KAFKA_BOOTSTRAP_SERVERS")
    there, asked = Ledger(settings).partitions(), settings.getint("KAFKA_SLOTS")  # type: ignore[attr-defined]
    if there != asked:
        topic = settings["KAFKA_TOPIC_LEDGER"]  # type: ignore[index]
        raise StartupError(f"{topic} has {there} partitions and KAFKA_SLOTS is {asked}: set KAFKA_SLOTS={there}")

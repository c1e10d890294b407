"""What a worker has to commit in one shard: requests that ended, until their transaction is settled."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Any

import structlog

from crawlers import metrics
from crawlers.changes.notes import without
from crawlers.exceptions import RejectedRecord
from crawlers.extensions.audit import AuditTrail
from crawlers.outcomes import CURRENT, RequestRecord
from pipelines.exactly_once.batch import Batch, Ended

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from scrapy.crawler import Crawler

    from crawlers.changes.notes import Note
    from crawlers.frontier.frontier import Frontier
    from crawlers.frontier.leases import Lease
    from crawlers.sink_load import SinkLoad
    from pipelines.dead_letter import DeadLetters
    from pipelines.producer import Record

log = structlog.get_logger("seine.exactly_once")

PROCESS = 40
"""Characters of a run id that name the server process; the others name its data, and may change while it runs."""
_MOST = 200
"""Requests of one transaction."""


class ShardQueue:
    """The owner of a SlotMachine."""

    def __init__(self, crawler: Crawler, frontier: Frontier, shard: int, load: SinkLoad, letters: DeadLetters | None):
        settings = crawler.settings
        self._stats: Any = crawler.stats
        self._products = settings["KAFKA_TOPIC_PRODUCTS"]
        self._dead_letters_topic = settings["KAFKA_TOPIC_DEAD_LETTERS"]
        self._linger = settings.getfloat("KAFKA_TRANSACTION_LINGER")
        self._frontier = frontier
        self._session = frontier.sessions[shard]
        self._load = load
        self._letters = letters
        self._audit = crawler.get_extension(AuditTrail)
        self._waiting: deque[Ended] = deque()
        self._tracked: dict[Lease, contextlib.ExitStack] = {}
        self._event = asyncio.Event()
        self._is_draining = False
        self._deadline = float("inf")
        self._shard = shard
        self._has_slot = self._is_told = False
        self._without_slot_since: float | None = None
        self._patience = frontier.options.lease_seconds
        self._is_given_up = False
        self._paused = contextlib.ExitStack()
        """Keeps leasing from going on."""
        self._is_paused = self._is_blocked = False

    # --- Its worker

    def add(self, lease: Lease, outcome: str, reason: str, records: list[Record], notes: Sequence[Note] = ()) -> None:
        """A request has ended: commit it when Redis has all its children."""
        if lease.lost:
            self._frontier.forget(lease)
            return
        one = Ended(lease, outcome, reason, records, self._letters_among(records), notes)
        tracked = contextlib.ExitStack()
        for record in records:
            tracked.enter_context(self._load.track(len(record.value or b"")))
        self._tracked[lease] = tracked
        if lease.trace is not None:
            lease.trace.is_handed_over = True
        self._frontier.hand_over(lease, lambda: self._come(one))

    def drain(self, deadline: float) -> None:
        """There will be no more; what is not committed by `deadline` (monotonic) is given back."""
        self._is_draining, self._deadline = True, deadline
        self._event.set()

    def give_up(self) -> None:
        """What is not prepared returns to the frontier; what is, whoever has the slot next resolves."""
        self._is_given_up = True
        self.go_on()
        while self._waiting:
            self._return(self._waiting.popleft())

    @property
    def in_flight(self) -> int:
        """Requests that are not settled."""
        return len(self._tracked)

    def wake(self) -> None:
        """Its machine is to look at Redis."""
        self._event.set()

    def _come(self, one: Ended) -> None:
        if self._is_given_up:
            self._return(one)
        else:
            self._waiting.append(one)
            self._event.set()

    def _return(self, one: Ended) -> None:
        self._release(one.lease)
        self._frontier.take_back(one.lease)
        if not one.lease.lost:
            self._frontier.release(one.lease)

    # --- Its machine

    @property
    def has_slot(self) -> bool:
        """Whether the machine has a slot: without one, another worker serves requests better."""
        return self._has_slot

    @has_slot.setter
    def has_slot(self, has: bool) -> None:
        if has != self._has_slot or not self._is_told:
            (log.info if has else log.warning)(
                "slot claimed" if has else "no free slot: leasing pauses", shard=self._shard
            )
        self._has_slot, self._is_told = has, True
        self._without_slot_since = None if has else self._without_slot_since or monotonic()

    @property
    def is_stranded(self) -> bool:
        """Whether it has had no slot for so long that whoever has one should have its requests."""
        since = self._without_slot_since
        return since is not None and monotonic() - since > self._patience

    def send_back(self) -> None:
        """What waits returns to the frontier, for a worker that has a slot."""
        if self._waiting:
            log.warning("no slot: requests return", shard=self._shard, requests=len(self._waiting))
        while self._waiting:
            self._return(self._waiting.popleft())

    def pause(self, failed: Iterable[Record] = ()) -> None:
        """Nothing can be committed: nothing more is leased until `go_on`. `failed`: what Kafka does not take."""
        if not self._is_paused:
            self._is_paused = True
            self._paused.enter_context(self._load.closed("transactions"))
        is_letter = any(record.topic == self._dead_letters_topic for record in failed)
        if is_letter and not self._is_blocked and self._letters is not None:
            self._is_blocked = True
            self._paused.enter_context(self._letters.blocked())

    def go_on(self) -> None:
        """Something was committed, or nothing is to be."""
        self._paused.close()
        self._is_paused = self._is_blocked = False

    def is_over(self) -> bool:
        """Whether there is nothing to commit and will not be."""
        return self._is_draining and (not self._tracked or monotonic() > self._deadline)

    async def next_requests(self, run_id: str, seconds: float) -> list[Ended]:
        """What is to be committed together; nothing after `seconds` without any.

        Only while the frontier's session knows the same Redis: another one may have lost children of these requests,
        which the session then sends again.
        """
        if not self._waiting:
            self._event.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._event.wait(), 0.0 if self.is_over() else seconds)
        if self._waiting and len(self._waiting) < _MOST and not self._is_draining:
            await asyncio.sleep(self._linger)
        if self._waiting and self._session.run_id[:PROCESS] != run_id[:PROCESS]:
            await asyncio.sleep(self._linger)
            return []
        return self._take()

    def _take(self) -> list[Ended]:
        taken: list[Ended] = []
        later: list[Ended] = []
        while self._waiting and len(taken) < _MOST:
            one = self._waiting.popleft()
            if one.lease.lost:
                self._release(one.lease)
            else:
                (later if one.lease.unconfirmed else taken).append(one)
        self._waiting.extendleft(reversed(later))
        return taken

    def settled(self, batch: Batch) -> None:
        """Committed, and Redis knows."""
        for one in batch.requests.values():
            self._count(one)
            self._release(one.lease)
            self._frontier.forget(one.lease)

    def committed(self, batch: Batch) -> None:
        """Their records are in Kafka, and Redis does not know of it: the frontier settles them, without records."""
        for one in batch.requests.values():
            self._count(one)
            self._release(one.lease)
            self._frontier.take_back(one.lease)
            if not one.lease.lost:
                self._frontier.settle(one.lease, one.outcome, one.reason, letters=one.letters, notes=one.notes)

    def give_back(self, batch: Batch) -> None:
        """Not committed under this slot: they are prepared anew, where they are still this worker's."""
        self._waiting.extendleft(reversed(batch.requests.values()))
        self._event.set()

    def let_go(self, requests: list[Ended]) -> None:
        """They are no longer this worker's; their records are not produced."""
        for one in requests:
            self._release(one.lease)
            self._frontier.lost(one.lease)

    async def bury(self, batch: Batch, refused: Record, why: str) -> None:
        """A dead letter takes the place of a record that Kafka refuses; of an audit event nothing does."""
        one = next(one for one in batch.requests.values() if any(record is refused for record in one.records))
        if one.lease.trace is not None:
            one.lease.trace.refused(refused, why)
        tombstone = refused.topic, refused.key, None  # says nothing without the record before it
        one.records = [
            record
            for record in one.records
            if record is not refused and (record.topic, record.key, record.value) != tombstone
        ]
        if self._audit is not None and self._audit.is_event(refused):
            self._audit.give_up(refused, why)
            return
        one.outcome, one.reason = "dead", "item"
        if refused.topic == self._products:
            one.notes = without(one.notes, refused.item)
        if refused.topic == self._dead_letters_topic or self._letters is None:
            log.error("dead letter refused", key=refused.key.decode("utf-8", "replace"), why=why)
            one.reason, one.letters = "dead letter refused", 0
            self._tell_again(one)
            return
        record = RequestRecord(lease=one.lease, trace=one.lease.trace)
        token = CURRENT.set(record)
        try:
            await self._letters.send(refused.item, RejectedRecord(f"{refused.topic}: {why}"), "delivery")
        finally:
            CURRENT.reset(token)
        one.records += record.records
        one.letters = self._letters_among(one.records)
        self._tell_again(one)
        self._stats.inc_value("items/buffered", -1)
        self._stats.inc_value("items/dead")
        self._stats.inc_value("items/dead/delivery")
        metrics.ITEMS.labels("dead", "delivery").inc()

    def _letters_among(self, records: list[Record]) -> int:
        return sum(record.topic == self._dead_letters_topic for record in records)

    def _tell_again(self, one: Ended) -> None:
        """The request has come to another end than its event and its audit event tell."""
        log.warning("outcome amended", request=one.lease.id.hex(), outcome=one.outcome, reason=one.reason)
        if (audit := self._audit) is not None:
            end = one.outcome, one.reason, one.lease.id
            one.records = [audit.amended(each, *end) if audit.is_event(each) else each for each in one.records]

    def _count(self, one: Ended) -> None:
        if one.lease.trace is not None:
            one.lease.trace.committed(one.outcome, one.reason)
        products = sum(record.topic == self._products and record.value is not None for record in one.records)
        self._stats.inc_value("items/acknowledged", products)
        self._stats.inc_value("items/buffered", -products)
        metrics.ITEMS.labels("acknowledged", "").inc(products)

    def _release(self, lease: Lease) -> None:
        if (tracked := self._tracked.pop(lease, None)) is not None:
            tracked.close()
        if lease.trace is not None:
            lease.trace.given_back()

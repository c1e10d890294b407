"""The state machine of one slot: which of its steps comes next, whatever has just failed.

    claiming ──> opening ──> reading ──> resolving ──> ready ──> preparing ──> committing ──> settling ──> ready
       ^                                                 │           │             │             │
       └──────── lost claim, doubtful commit, another Redis, Kafka or Redis away ──┴─────────────┘

Each state is a method that returns the next one. docs/exactly-once.md says why each step is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

import structlog
from confluent_kafka import KafkaException

from crawlers import metrics
from crawlers.frontier.connection import AWAY, told
from crawlers.tasks import end
from pipelines.exactly_once.batch import Batch, Ended
from pipelines.exactly_once.ledger import Entry, LedgerBehind
from pipelines.exactly_once.transactions import Doubtful, Refused, Transactions
from pipelines.producer import Record

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pipelines.exactly_once.ledger import Ledger, LedgerReader
    from pipelines.exactly_once.slots import Held, Prepared, Slots

    State = Callable[[], Awaitable["State | None"]]

T = TypeVar("T")
log = structlog.get_logger("seine.exactly_once")

_PAUSE = 0.2
"""Seconds until what was away, or taken, is asked for again."""
_PATIENCE = 2.0
"""Seconds of a commit after which nothing more is leased until it has succeeded."""


class SlotMachine:
    """Holds a slot, and commits what its owner gives: a ShardQueue. Without one it resolves the slot that it is `left`,
    (slot, claim), and ends.
    """

    def __init__(
        self,
        slots: Slots,
        ledger: Ledger,
        open_transactions: Callable[[int], Transactions],
        is_given_up: Callable[[], bool],
        owner: Any = None,
        left: tuple[int, str] | None = None,
    ):
        self._slots = slots
        self._ledger = ledger
        self._open_transactions = open_transactions
        self._is_given_up = is_given_up
        self._owner = owner
        self._slot, self._claim = left or (-1, secrets.token_hex(16))
        self._keeper: asyncio.Task[None] | None = None
        """Keeps the claim alive until the slot is resolved."""
        self._reader: LedgerReader | None = None
        self._transactions: Transactions | None = None
        self._held: Held | None = None
        self._page: tuple[list[Entry], int, bool] = ([], 0, True)
        self._is_committed = False
        """Whether the ledger has the batch in memory."""
        self._offset: int | None = None
        self._batch: Batch | None = None
        """In memory, until it is settled: a new owner of the slot would have to fetch it again."""
        self._is_away = False
        self.trouble: Exception | None = None
        """What ended the machine for good."""

    async def run(self) -> None:
        """Until the owner has nothing more, or, without one, the slot that was left is resolved."""
        state: State | None = self._claiming if self._owner is not None else self._opening
        try:
            while state is not None:
                state = await self._step(state)
        finally:
            await self._let_go()

    async def _step(self, state: State) -> State | None:
        try:
            following = await state()
        except AWAY as error:
            return await self._again("redis", told(error))
        except (KafkaException, Doubtful) as error:
            return await self._again("kafka", str(error))
        except LedgerBehind as error:
            log.error("ledger behind redis", error=str(error))
            self.trouble = error
            return None
        if following == self._ready and self._is_away:
            self._is_away = False
            log.info("transactions go on", slot=self._slot)
        if following == self._ready:
            self._owner.go_on()
        return following

    async def _again(self, what: str, why: str) -> State | None:
        """Whatever is in doubt is resolved by the first steps."""
        metrics.TRANSACTIONS.labels("doubtful").inc()
        if self._owner is None or self._is_given_up():
            return None
        if not self._is_away:
            self._is_away = True
            log.warning("transactions wait: leasing pauses", away=what, slot=self._slot, error=why)
        self._owner.pause()
        await self._let_go()
        await asyncio.sleep(_PAUSE)
        return self._claiming

    # --- The states

    async def _claiming(self) -> State | None:
        """A slot, its own where it still has one."""
        slot = await self._slots.claim(self._claim)
        self._owner.has_slot = slot is not None
        if slot is None:
            self._owner.go_on()
            if self._owner.is_over():
                return None
            if self._owner.is_stranded:
                self._strand()
            await asyncio.sleep(_PAUSE)
            return self._claiming
        self._slot = slot
        return self._opening

    async def _opening(self) -> State:
        """Fence whoever had the slot before; only then look at what it left."""
        await self._let_go()
        self._keeper = asyncio.create_task(self._keep_claim())
        self._transactions = await asyncio.to_thread(self._open_transactions, self._slot)
        started = monotonic()
        await asyncio.to_thread(self._transactions.open)
        metrics.TRANSACTION_OPEN_SECONDS.observe(monotonic() - started)
        return self._looking

    async def _looking(self) -> State:
        """Is the claim still ours, after a fencing that took its time?"""
        self._held = await self._slots.look(self._slot, self._claim)
        if self._held is None:
            return self._start_over()
        await self._close_reader()
        self._is_committed = False
        self._reader = await asyncio.to_thread(self._ledger.read, self._slot, self._held.offset)
        return self._reading

    async def _reading(self) -> State:
        """What was committed under the slot since Redis last knew, a page of it."""
        assert self._reader is not None
        self._page = await asyncio.to_thread(self._reader.next_page, self._is_given_up)
        return self._resolving

    async def _resolving(self) -> State | None:
        """Settle, keep or give back the batch that was prepared."""
        assert self._held is not None
        batch, held = self._batch, self._held
        token, in_memory = held.token.decode(), batch.token if batch is not None else ""
        is_ours = bool(token) and in_memory == token
        new_token = secrets.token_hex(16) if is_ours else ""
        what, ids = await self._slots.resolve(self._slot, self._claim, held, self._page, new_token, in_memory)
        self._is_committed |= any(entry.token == in_memory for entry in self._page[0])
        if what == "more":
            return self._reading
        if what == "lost":
            return self._start_over()
        if what == "again":
            return self._looking
        if token:
            log.info("batch resolved", slot=self._slot, what=what, left_by="this worker" if is_ours else "another")
            metrics.TRANSACTIONS.labels(f"resolved {what}").inc()
        await self._stop_keeper()
        if self._owner is None:
            return self._leaving
        if batch is None:
            return self._ready
        return self._resolved(batch, what if is_ours or what == "past" else "none", ids, new_token)

    def _resolved(self, batch: Batch, what: str, ids: set[bytes], new_token: str) -> State:
        """What the ledger and Redis say of the batch in memory."""
        if what == "kept":
            self._owner.let_go(self._drop_others(batch, ids))
            batch.token = new_token
            return self._preparing
        self._batch = None
        if what in ("settled", "past"):
            self._owner.settled(batch)
        elif self._is_committed:
            self._owner.committed(batch)  # and Redis, another one, does not know of the batch
        else:
            self._owner.give_back(batch)
        return self._ready

    async def _ready(self) -> State | None:
        """Wait for requests; the claim lives on meanwhile."""
        assert self._transactions is not None
        if self._transactions.is_worn:
            return self._opening
        assert self._held is not None
        requests = await self._owner.next_requests(self._held.run_id.decode(), self._slots.renewal)
        if requests:
            self._batch = Batch({one.lease.id: one for one in requests})
            return self._preparing
        if self._owner.is_over():
            return self._leaving
        held, self._held = self._held, await self._slots.look(self._slot, self._claim)
        if self._held is None:
            return self._start_over()
        return self._ready if self._held.run_id == held.run_id else self._claiming  # else: another Redis

    async def _preparing(self) -> State:
        """From here on the requests are the slot's."""
        batch = self._batch
        assert batch is not None
        requests = [
            (id_, one.lease.token, one.outcome, one.reason, one.letters, one.notes_as_told())
            for id_, one in batch.requests.items()
        ]
        answer = await self._slots.prepare(self._slot, self._claim, batch.token, requests)
        if answer.what == "ok":
            return self._prepared(batch, answer)
        self._batch = None
        self._owner.give_back(batch)
        if answer.what == "wait":
            await asyncio.sleep(_PAUSE)
            return self._ready
        return self._start_over() if answer.what == "lost" else self._claiming

    def _prepared(self, batch: Batch, answer: Prepared) -> State:
        repeated = [batch.requests[id_] for id_ in answer.repeated]
        if repeated:
            metrics.TRANSACTIONS.labels("repeated").inc(len(repeated))
            for one in repeated:
                one.keep_nothing()
            self._owner.committed(Batch({one.lease.id: one for one in repeated}))
        gone = self._drop_others(batch, answer.ids)
        self._owner.let_go([one for one in gone if one.lease.id not in answer.repeated])
        if batch.requests:
            return self._committing
        self._batch = None
        return self._ready

    async def _committing(self) -> State:
        """Records, dead letters and the ledger's entry, or nothing of them."""
        batch = self._batch
        assert batch is not None
        assert self._transactions is not None
        entry = Entry(
            batch.token,
            self._slots.crawl,
            [(id_.hex(), one.outcome, one.reason, one.letters) for id_, one in batch.requests.items()],
        )
        ledger = Record(self._ledger.topic, str(self._slot).encode(), self._ledger.encoded(entry), [])
        records = [record for one in batch.requests.values() for record in one.records]
        started = monotonic()
        committing = asyncio.to_thread(
            self._transactions.commit, records, ledger, self._slot, one_by_one=batch.one_by_one
        )
        try:
            self._offset = await self._paused_while(committing)
        except (Refused, Doubtful) as error:
            self._owner.pause(record for place, record in enumerate(records) if place in error.failed)
            if isinstance(error, Doubtful):
                raise
            return await self._refused(batch, records, error)
        metrics.TRANSACTIONS.labels("committed").inc()
        metrics.TRANSACTION_SECONDS.observe(monotonic() - started)
        return self._settling

    async def _paused_while(self, committing: Awaitable[T]) -> T:
        """Where it takes too long, what would wait behind it is not fetched."""
        task = asyncio.ensure_future(committing)
        try:
            if not (await asyncio.wait([task], timeout=_PATIENCE))[0]:
                self._owner.pause()
            return await task
        finally:
            task.cancel()

    async def _refused(self, batch: Batch, records: list[Record], error: Refused) -> State:
        """Kafka refuses a record: find it, and put its dead letter in its place."""
        batch.one_by_one = True
        for place in error.records if error.is_certain else ():
            await self._owner.bury(batch, records[place], str(error))
        return self._opening  # the producer's sequence of records has a gap

    async def _settling(self) -> State:
        """Committed: Redis is told."""
        batch = self._batch
        assert batch is not None
        what = await self._slots.settle(self._slot, self._claim, batch.token, self._offset)
        if what != "ok":
            return self._start_over() if what == "lost" else self._claiming
        self._batch = None
        self._owner.settled(batch)
        return self._ready

    async def _leaving(self) -> None:
        """The next owner need not wait."""
        await self._slots.leave(self._slot, self._claim)

    # ---

    def _strand(self) -> None:
        """Others have the slots: what was prepared is theirs to resolve, and the rest theirs to fetch."""
        batch, self._batch = self._batch, None
        if batch is not None:
            self._owner.give_back(batch)
        self._owner.send_back()

    def _start_over(self) -> State:
        """The claim is lost: under the old one nothing more is done."""
        self._claim = secrets.token_hex(16)
        self._slot = -1
        return self._claiming

    @staticmethod
    def _drop_others(batch: Batch, ids: set[bytes]) -> list[Ended]:
        """The requests that are not among `ids` leave the batch."""
        return [batch.requests.pop(id_) for id_ in set(batch.requests) - ids]

    async def _keep_claim(self) -> None:
        while True:
            await asyncio.sleep(self._slots.renewal)
            with contextlib.suppress(*AWAY):
                await self._slots.look(self._slot, self._claim)

    async def _stop_keeper(self) -> None:
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            await end(keeper)

    async def _close_reader(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            await asyncio.to_thread(reader.close)

    async def _let_go(self) -> None:
        """Of Kafka, and of whatever still runs."""
        await self._stop_keeper()
        await self._close_reader()
        transactions, self._transactions = self._transactions, None
        if transactions is not None:
            await asyncio.to_thread(transactions.close)

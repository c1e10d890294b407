"""A worker's side of one shard: leases prefetched, writes ordered and behind, and what happens when Redis is away.

One task owns the connection. Each exchange is one round trip: what is to be settled, then what is new, then a call for
leases. A batch is sent again until its reply is there; its sequence number makes the second time harmless. A request
whose children are not confirmed is not settled: its settlement waits here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import secrets
from collections import deque
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

import msgpack
import structlog
from redis.exceptions import OutOfMemoryError, ResponseError

from crawlers import metrics
from crawlers.changes.notes import as_told
from crawlers.frontier.connection import AWAY, Connection, Servers, told
from crawlers.frontier.leases import Child, Lease, OtherStart
from crawlers.frontier.options import slots_of
from crawlers.frontier.plans import Plans
from crawlers.frontier.scripts import Command, run
from crawlers.tasks import end

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from crawlers.frontier.frontier import Frontier
    from crawlers.frontier.options import FrontierOptions

log = structlog.get_logger("seine.frontier")

_FULL = ("OOM", "maxmemory", "MISCONF", "NOREPLICAS", "Not enough good replicas", "disk")
"""In an error of a Redis that answers and takes no writes; redis-py leaves some codes out of its messages."""
_OF_THE_BATCH = re.compile(r"^POISON |(?<!@)user_script:\d+: ")
"""An error that what was sent has caused: a script refused it, or Lua failed on it. Any other one (of a replica, of a
right that is missing, of a server that forgot the scripts) says nothing about the batch, which is kept."""
_SHORTEST_POLL, _LONGEST_POLL = 0.01, 0.25
"""Seconds between two calls for leases that found nothing."""
_LOOK = 1.0
"""Seconds between two looks at the crawl while nothing is leased."""
_LONGEST_BACKOFF = 1.0
_GO_ON = 4
"""Leases that are asked for per domain that is gone on with, where there is no room for others."""


class Session:
    """Of one worker with one shard. `operations` and `arrivals` are appended to from outside, followed by `wake()`."""

    def __init__(self, frontier: Frontier, servers: Servers, number: int):
        self.number = number
        self.operations: deque[tuple[Any, ...]] = deque()
        """(what, lease, *arguments) in the order in which they happened; ('delay', domain, ms) among them."""
        self.arrivals: deque[Child] = deque()
        self._again: dict[Lease, asyncio.Future[OtherStart]] = {}
        """What is to be sent once more, and who waits for its start."""
        self.duplicates = 0
        self.refused: dict[str, int] = {}
        self.state, self.open, self.version = "running" if frontier.crawl else "complete", -1, -1
        """As the last call for leases found the crawl in this shard; open is -1 before it."""
        self.beaten_at = 0.0
        """When the last confirmed heartbeat was sent, on the monotonic clock."""
        self._frontier = frontier
        self._options: FrontierOptions = frontier.options
        self._servers = servers
        self._worker = frontier.worker
        self._shard = frontier.keys.shard(number)
        self._crawl = frontier.keys.crawl(number, frontier.crawl)
        self._share = -(-self._options.crawl_pages // frontier.keys.shards)
        self._settings = msgpack.packb(_script_settings(self._options))
        self._slots = " ".join(map(str, slots_of(number, frontier.keys.shards, self._options.slots)))
        self._settling: list[tuple[Any, ...]] = []
        self._enqueuing: list[Child] = []
        self._enqueuing_counts: tuple[int, dict[str, int]] = (0, {})
        self._settle_sequence = self._enqueue_sequence = 0
        self._run_id = ""
        self._session = 0
        """How many connections there were."""
        self._event = asyncio.Event()
        self._last_exchange = self._lease_at = self._look_at = 0.0
        self._poll = _SHORTEST_POLL
        self._plans = Plans(self._options.look_ahead / 1000)
        self._trouble: str | None = None
        self._is_safe = True
        """Whether the last exchange's writes reached as many replicas as they must."""
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    async def open_with(self, connection: Connection) -> None:
        """Register the worker, and start to exchange."""
        await self._shake_hands(connection)
        self._task = asyncio.create_task(self._run(connection))

    def wake(self) -> None:
        """There is something to write, or room for leases."""
        self._event.set()

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be written."""
        return not (self.operations or self.arrivals or self._settling or self._enqueuing or self.duplicates)

    @property
    def run_id(self) -> str:
        """The server process that this session last agreed with on what is leased."""
        return self._run_id

    @property
    def backlog(self) -> int:
        """New requests that Redis has not confirmed."""
        return len(self.arrivals) + len(self._enqueuing)

    async def close(self, deadline: float) -> bool:
        """Write what is left, leave the shard; False where Redis did not take it by `deadline` (monotonic)."""
        self._closing = True
        if self._task is None:
            return True
        for lease in list(self._again):
            self._answer(lease, OtherStart("lost"))
        self.wake()
        done, _ = await asyncio.wait([self._task], timeout=max(0.0, deadline - monotonic()))
        await end(self._task)
        return bool(done)

    async def _run(self, connection: Connection | None) -> None:
        """Exchange until closed; a lost connection is made again, for as long as it takes."""
        backoff = 0.05
        while True:
            try:
                if connection is None:
                    connection = await self._servers.connect(self._shard)
                    await self._shake_hands(connection)
                    backoff = 0.05
                self._better()
                await self._exchange_until_closed(connection)
                return
            except AWAY as error:
                self._worse(told(error))
            except Exception as error:  # a mistake of ours must not end this task unseen
                log.exception("frontier session failed", shard=self.number)
                self._worse(repr(error))
            finally:
                if connection is not None:
                    await connection.close()
                    connection = None
            await asyncio.sleep(backoff)
            backoff = min(_LONGEST_BACKOFF, backoff * 2)

    async def _shake_hands(self, connection: Connection) -> None:
        """After a lost connection: agree on what is leased; after another server, tell it all again."""
        if self._run_id and connection.run_id != self._run_id:
            self._tell_again()
        self._run_id = connection.run_id
        held = [lease for lease in self._frontier.held.values() if lease.shard == self.number and not lease.lost]
        known = [part for lease in held for part in (lease.id, lease.token)]
        self._session += 1
        sent_at = monotonic()
        _, lost = await self._answered(
            connection,
            self._script(
                "register", self._worker, self._options.lease_ms, json.dumps(self._frontier.info), self._session
            ),
            self._script("reconcile", self._worker, self._options.delay, self._session, *known),
        )
        in_flight = {operation[1].id for operation in self._settling if operation[0] != "delay"}
        for id_ in lost:
            if id_ not in in_flight:
                self._frontier.lose(id_)
        self.beaten_at = sent_at

    def _tell_again(self) -> None:
        """Redis is another process, and may have lost what it confirmed: children of open requests are sent anew."""
        self._frontier.restarted()
        self.operations.extendleft(reversed(self._settling))
        self._settling = []
        waiting = {id(child) for child in (*self.arrivals, *self._enqueuing)}
        for lease in self._frontier.held.values():
            for child in lease.children:
                if child.shard == self.number and id(child) not in waiting:
                    lease.unconfirmed += 1
                    self.arrivals.append(child)

    async def _exchange_until_closed(self, connection: Connection) -> None:
        while True:
            if not self._has_work():
                self._event.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._event.wait(), self._patience())
            if (linger := self._last_exchange + self._linger() - monotonic()) > 0:
                await asyncio.sleep(linger)
            self._last_exchange = monotonic()
            await self._exchange(connection)
            if self._closing and self._frontier.quiet:
                await self._answered(connection, self._reap(self._worker))
                return

    def _linger(self) -> float:
        """Seconds between two exchanges; a worker that has nothing to do waits for less than what it might gather."""
        return self._options.linger / 5 if self._frontier.is_starved else self._options.linger

    def _has_work(self) -> bool:
        is_writing = self.operations or self.arrivals or self._settling or self._enqueuing
        return bool(is_writing or self._again or self._closing)

    def _patience(self) -> float:
        """Seconds until there is a reason to exchange without being woken."""
        now = monotonic()
        reasons = [self.beaten_at + self._options.lease_seconds / 3]
        if self._frontier.may_ask(self):
            reasons.append(self._look_at)
            reasons.append(self._plans.next())
            if self._frontier.wanted(self) > 0:
                reasons.append(self._lease_at)
        return max(0.0, min(reasons) - now)

    async def _exchange(self, connection: Connection) -> None:
        """One round trip."""
        commands: list[Command] = []
        readers: list[Callable[[Any], None]] = []

        def ask(command: Command, reader: Callable[[Any], None]) -> None:
            commands.append(command)
            readers.append(reader)

        if not self._settling:
            self._settling = self._next_operations()
            self._settle_sequence += bool(self._settling)
        if self._settling:
            ask(self._settle_command(), self._settled)
        if not self._enqueuing and self._enqueuing_counts == (0, {}):
            self._next_arrivals()
        if self._enqueuing or self._enqueuing_counts != (0, {}):
            ask(self._enqueue_command(), self._enqueued)
        waits = bool(self._options.wait_replicas and (self._settling or self._enqueuing))
        if not self.operations:  # what was said of them before has been told
            for lease in self._again:
                ask(self._again_command(lease), partial(self._started_again, lease))
        token = b""
        may_ask = self._frontier.may_ask(self) and (self._is_safe or not waits)
        want = self._frontier.wanted(self) if may_ask else 0
        go_on = self._plans.take(monotonic()) if may_ask else []
        is_due = monotonic() >= (self._lease_at if want > 0 else self._look_at)
        if go_on or (want > 0 and commands) or (may_ask and is_due):
            token = secrets.token_bytes(8)
            command = self._lease_command(token, max(want, _GO_ON * len(go_on)), go_on)
            ask(command, lambda reply: self._leased(token, reply))
        sent_at = monotonic()
        if sent_at - self.beaten_at > self._options.lease_seconds / 3:
            ask(self._script("renew", self._worker, self._options.lease_ms), lambda reply: self._beaten(sent_at, reply))
            ask(self._reap(""), self._reaped)
        if not commands:
            return
        if waits:
            commands.append(("WAIT", self._options.wait_replicas, self._options.wait_milliseconds))
        replies = await connection.call(*commands)
        self._is_safe = self._is_replicated(replies.pop()) if waits else True
        for reader, reply in zip(readers, replies, strict=True):
            reader(reply)
        self._frontier.exchanged()

    def _is_replicated(self, reply: Any) -> bool:
        """Whether enough replicas have what this connection wrote; what they have not is sent again, harmlessly."""
        if isinstance(reply, Exception):
            raise reply
        unsafe = f"fewer than {self._options.wait_replicas} replicas have what was written"
        if reply < self._options.wait_replicas:
            self._worse(unsafe)
            return False
        if self._trouble == unsafe:
            self._better()
        return True

    def _reap(self, worker: str) -> Command:
        return self._script("reap", self._options.lease_ms, self._options.most_losses, self._options.delay, worker)

    # --- Settling

    def _next_operations(self) -> list[tuple[Any, ...]]:
        """The next batch; a settlement that waits for children comes back when they are confirmed."""
        batch: list[tuple[Any, ...]] = []
        while self.operations and len(batch) < self._options.batch:
            operation = self.operations.popleft()
            what, lease = operation[0], operation[1]
            if what == "delay":
                batch.append(operation)
            elif lease.lost:
                self._told(operation)
            elif what not in _ENDINGS or not lease.unconfirmed:
                batch.append(operation)
            else:
                self._frontier.waiting[lease.id] = operation
        return batch

    def _settle_command(self) -> Command:
        operations = [self._as_told(operation) for operation in self._settling]
        packed = msgpack.packb(operations, use_bin_type=False)
        return self._script("settle", self._worker, self._settle_sequence, packed, self._settings)

    @staticmethod
    def _as_told(operation: tuple[Any, ...]) -> tuple[Any, ...]:
        what, lease = operation[:2]
        if what == "delay":
            return operation
        if what == "began":
            return (what, lease.id, lease.token, round((monotonic() - operation[2]) * 1000))
        if what == "settle" and len(operation) > 6:
            return (what, lease.id, lease.token, *operation[2:6], as_told(operation[6], leads_on=lease.leads_on))
        if what == "release":
            return (what, lease.id, lease.token, operation[2], int(lease.leads_on))
        return (what, lease.id, lease.token, *operation[2:])

    def _settled(self, reply: Any) -> None:
        if self._is_refused(reply, "settle"):
            if self._trouble is None:  # not Redis but the batch is at fault: take it apart
                self._apart(self._settling)
            return
        if not self._is_safe:
            return
        stale, _ = msgpack.unpackb(reply, raw=True)
        metrics.LEASES_STALE.inc(stale)
        for operation in self._settling:
            if operation[0] == "done":
                operation[1].done()
            elif operation[0] in _ENDINGS:
                self._frontier.forget(operation[1])
            else:
                self._told(operation)
        self._settling = []

    def _told(self, operation: tuple[Any, ...]) -> None:
        """Redis has it, or will not get it."""
        if operation[0] == "ended":
            self._frontier.heard(operation[1], operation[4])

    def _apart(self, batch: list[tuple[Any, ...]]) -> None:
        if len(batch) > 1:
            self.operations.extendleft(reversed(batch[1:]))
            self._settling = batch[:1]
        else:
            self._settling = self._instead_of(batch[0])
        self._settle_sequence += 1

    def _instead_of(self, operation: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """A lease whose end is refused ends dead, by name; of anything else the crawl can do without."""
        log.error("operation refused by Redis", operation=operation[0])
        self._told(operation)
        if operation[0] not in _ENDINGS or operation[3:] == _REFUSED:
            return []
        return [("settle", operation[1], operation[2], *_REFUSED)]

    # --- Other starts

    async def start_again(self, lease: Lease) -> OtherStart:
        """Whether the lease's request may be sent once more, and when."""
        answer = self._again[lease] = asyncio.get_running_loop().create_future()
        self.wake()
        return await answer

    def _again_command(self, lease: Lease) -> Command:
        options = self._options
        return self._script("again", self._worker, lease.id, lease.token, options.delay, options.look_ahead)

    def _started_again(self, lease: Lease, reply: Any) -> None:
        if self._is_refused(reply, "again"):
            self._answer(lease, OtherStart("wait"))
            return
        what, wait, delay = reply
        self._answer(lease, OtherStart(what.decode(), wait / 1000, delay / 1000))

    def _answer(self, lease: Lease, start: OtherStart) -> None:
        if (answer := self._again.pop(lease, None)) is not None and not answer.done():
            answer.set_result(start)

    # --- New requests

    def _next_arrivals(self) -> None:
        while self.arrivals and len(self._enqueuing) < self._options.batch:
            self._enqueuing.append(self.arrivals.popleft())
        self._enqueuing_counts = (self.duplicates, self.refused)
        self.duplicates, self.refused = 0, {}
        self._enqueue_sequence += bool(self._enqueuing) or self._enqueuing_counts != (0, {})

    def _enqueue_command(self) -> Command:
        duplicates, refused = self._enqueuing_counts
        batch = [[child.request for child in self._enqueuing], duplicates, refused, self._share]
        packed = msgpack.packb(batch, use_bin_type=False)
        return self._script("enqueue", self._worker, self._enqueue_sequence, packed)

    def _enqueued(self, reply: Any) -> None:
        if self._is_refused(reply, "enqueue"):
            text = str(reply)
            if self._trouble is None:
                self._quarantine(int(text.split()[1]) - 1 if text.startswith("POISON ") else None)
            return
        if not self._is_safe:
            return
        if reply == b"gone":
            log.error("the crawl is over: requests are not taken", requests=len(self._enqueuing))
            self._frontier.is_over = True
        else:
            added, duplicates, over, news = msgpack.unpackb(reply)
            self._frontier.counted(added, duplicates, over)
            for child, is_new in zip(self._enqueuing, news, strict=True):
                if child.parent is not None and is_new == "1":
                    child.parent.leads_on = True
        for child in self._enqueuing:
            self._frontier.confirmed(child)
        self._enqueuing = []
        self._enqueuing_counts = (0, {})

    def _quarantine(self, index: int | None) -> None:
        """Take the request out that the script refuses; without an index, find it by trying each alone."""
        self._enqueue_sequence += 1
        if index is None and len(self._enqueuing) > 1:
            self.arrivals.extendleft(reversed(self._enqueuing[1:]))
            self._enqueuing = self._enqueuing[:1]
            return
        if not self._enqueuing:
            self._enqueuing_counts = (0, {})
            return
        poison = self._enqueuing.pop(index or 0)
        log.error("request refused by Redis", url=poison.url, bytes=len(poison.request.data))
        self.refused["unstorable"] = self.refused.get("unstorable", 0) + 1
        self._frontier.confirmed(poison)

    # --- Leases

    def _lease_command(self, token: bytes, want: int, go_on: Sequence[str] = ()) -> Command:
        options = self._options
        return self._script(
            "lease",
            self._worker,
            token,
            want,
            options.look_ahead,
            options.per_domain,
            options.delay,
            options.concurrency,
            self._session,
            self._slots,
            *go_on,
        )

    def _leased(self, token: bytes, reply: Any) -> None:
        if self._is_refused(reply, "lease"):
            self._lease_at = self._look_at = monotonic() + _LONGEST_POLL
            return
        state, self.open, self.version, due, rows = msgpack.unpackb(reply, raw=True)
        self.state = state.decode()
        now = monotonic()
        self._look_at = now + _LOOK
        for id_, wait, delay, attempts, domain, data, age, revived, has_led in rows:
            start_at = now + wait / 1000
            lease = Lease(id_, token, self.number, domain.decode(), start_at, delay / 1000, attempts, data, revived)
            lease.known_at = now - age / 1000
            lease.leads_on = bool(has_led or revived)
            self._plans.add(lease)
            self._frontier.add(lease)
        if rows:
            self._poll = _SHORTEST_POLL
            self._lease_at = now
            return
        self._lease_at = now + self._poll
        if due >= 0:
            self._lease_at = now + min(_LONGEST_POLL, max(_SHORTEST_POLL, (due - self._options.look_ahead) / 1000))
        self._poll = min(_LONGEST_POLL, self._poll * 1.5)

    def _beaten(self, sent_at: float, reply: Any) -> None:
        if self._is_refused(reply, "renew"):
            return
        if reply < 0:
            raise ResponseError("this worker was taken for dead")  # shake hands again
        self.beaten_at = sent_at

    def _reaped(self, reply: Any) -> None:
        if self._is_refused(reply, "reap"):
            return
        workers, leases = reply
        if workers:
            log.warning("dead workers' leases returned", workers=workers, leases=leases)

    # --- Trouble

    def _is_refused(self, reply: Any, script: str) -> bool:
        """Whether `reply` is an error. Raises it where a new connection is the way out."""
        if not isinstance(reply, Exception):
            if script in ("enqueue", "lease") and self._is_safe:
                self._better()
            return False
        text = str(reply)
        if isinstance(reply, OutOfMemoryError) or any(sign in text for sign in _FULL):
            self._worse(text)
            self._last_exchange = monotonic() + _LONGEST_BACKOFF
        elif _OF_THE_BATCH.search(text):
            log.error("script failed", script=script, error=text)
        else:
            raise reply
        return True

    def _worse(self, why: str) -> None:
        if self._trouble is None:
            log.error("redis away", shard=self.number, error=why, held=len(self._frontier.held))
        self._trouble = why
        metrics.FRONTIER_AWAY.labels(self.number).set(1)

    def _better(self) -> None:
        if self._trouble is not None:
            log.info("redis back", shard=self.number)
        self._trouble = None
        metrics.FRONTIER_AWAY.labels(self.number).set(0)

    async def _answered(self, connection: Connection, *commands: Command) -> list[Any]:
        replies = await connection.call(*commands)
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return replies

    def _script(self, name: str, *arguments: str | bytes | float) -> Command:
        return run(name, self._shard, self._crawl, *arguments)


_ENDINGS = ("settle", "retry", "postpone", "release", "done")
"""What waits for its lease's children."""
_REFUSED = ("dead", "refused by Redis")


def _script_settings(options: FrontierOptions) -> list[int]:
    return [
        options.delay,
        options.breaker_failures,
        options.breaker_cool_down,
        options.breaker_longest,
        options.breaker_openings,
        options.outcome_seconds,
    ]

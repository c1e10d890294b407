"""A worker's side of the frontier: it takes leases, says what became of them, and adds what they led to.

Nothing here waits for Redis: what is said is written behind, in order, by the sessions with the shards.
"""

from __future__ import annotations

import asyncio
import heapq
import os
import random
import secrets
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any

import structlog

from crawlers import metrics
from crawlers.frontier.leases import Child, Lease, NewRequest
from crawlers.frontier.sending import NotLeased
from crawlers.frontier.session import Session
from crawlers.refusals import DomainShut

if TYPE_CHECKING:
    from crawlers.changes.notes import Note
    from crawlers.frontier.connection import Connection, Servers
    from crawlers.frontier.keys import Keys
    from crawlers.frontier.options import FrontierOptions

log = structlog.get_logger("seine.frontier")

_KNOWN = 65_536
"""URLs that are remembered as known to Redis, in each of two generations."""
_AHEAD = 0.1
"""Seconds of work that are leased ahead of the free places."""
_LEAST_AHEAD = 2
_ASKING = ("running", "paused", "cancelled")
"""States in which leases are asked for; a paused crawl gives none, and its state is told along."""
_EARLY = 0.0005
"""Seconds: a timer may fire that much before its time."""
_PAUSES = (0.02, 0.2)
"""Seconds between two questions for another start: at first, and at most."""


class Frontier:
    """One worker's view of one crawl; with an empty `crawl`, which is never opened, of none.

    `on_leases` is called when there may be something to take.
    """

    def __init__(
        self,
        servers: Servers,
        keys: Keys,
        crawl: str,
        options: FrontierOptions,
        on_leases: Callable[[], None] = lambda: None,
        worker_name: str | None = None,
    ):
        self.keys = keys
        self.crawl = crawl
        self.options = options
        self.worker = secrets.token_hex(8)
        name = worker_name or f"{socket.gethostname()}:{os.getpid()}"
        self.info = {"name": name, "pid": os.getpid(), "started": round(time.time())}
        self.held: dict[bytes, Lease] = {}
        """Every lease whose end Redis has not confirmed, by id."""
        self.waiting: dict[bytes, tuple[Any, ...]] = {}
        """Settlements that wait for their children to be confirmed, by id."""
        self.may_lease: Callable[[int], bool] = lambda shard: True
        """Whether what comes after (the sink) has room for requests of a shard."""
        self.free_places: Callable[[], int] = lambda: options.prefetch
        """How many requests could be started now; little more than that is leased."""
        self._taken, self._takes_per_second, self._paced_at = 0, 0.0, monotonic()
        self.restarts = 0
        """How often a server of Redis came back as another process, which may have lost what it had confirmed."""
        self.draining = False
        self.is_over = False
        """Whether the crawl refused new requests, as it was complete."""
        self.known: set[str] = set()
        self._known_before: set[str] = set()
        self._on_leases = on_leases
        self._ready: list[tuple[float, int, Lease]] = []
        self._left_alone: Counter[str] = Counter()
        """Domains that asked to be, where Redis has not heard of it: what it leases meanwhile goes back."""
        self._ticket = 0
        self.early = 0.0
        """Seconds before its `start_at` that a lease with a delay is taken, so that it can be sent in time."""
        self._timer: asyncio.TimerHandle | None = None
        self._afters: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._restarted = asyncio.Event()
        self.sessions = [Session(self, servers, number) for number in range(keys.shards)]

    # --- Life

    async def open(self, connections: list[Connection]) -> None:
        """Register with every shard over its connection, and start to prefetch."""
        for session, connection in zip(self.sessions, connections, strict=True):
            await session.open_with(connection)

    async def close(self, seconds: float) -> bool:
        """Give back what is not started, write what is left; False where Redis did not take all of it in time."""
        self.drain()
        deadline = monotonic() + seconds
        if self._afters:
            await asyncio.wait(self._afters, timeout=seconds)
        for lease in list(self.held.values()):
            if not lease.settled:
                self.release(lease)
        if self._timer is not None:
            self._timer.cancel()
        closed = await asyncio.gather(*(session.close(deadline) for session in self.sessions))
        return all(closed)

    def drain(self) -> None:
        """Take no more leases, and give back at once those that have not been taken."""
        self.draining = True
        while self._ready:
            _, _, lease = heapq.heappop(self._ready)
            self.release(lease)

    @property
    def quiet(self) -> bool:
        """Whether Redis has confirmed everything that was said."""
        return not self.waiting and not self._afters and all(session.idle for session in self.sessions)

    @property
    def backlog(self) -> int:
        """New requests that Redis has not confirmed."""
        return sum(session.backlog for session in self.sessions)

    @property
    def untaken(self) -> int:
        """Leases that the engine has not taken yet."""
        return len(self._ready)

    @property
    def is_alive(self) -> bool:
        """Whether this worker's leases are surely still its own."""
        oldest = min(session.beaten_at for session in self.sessions)
        return monotonic() - oldest < self.options.lease_seconds

    @property
    def exhausted(self) -> bool:
        """Whether no shard had an open request when it was last asked, and this worker has none either."""
        return not self.held and self.quiet and all(session.open == 0 for session in self.sessions)

    @property
    def states(self) -> set[str]:
        """The crawl's states as the shards last told them; they differ only while one is being set."""
        return {session.state for session in self.sessions}

    async def changed(self, seconds: float) -> None:
        """Return after the next exchange with Redis, or after `seconds`."""
        self._changed.clear()
        try:
            await asyncio.wait_for(self._changed.wait(), seconds)
        except TimeoutError:
            return

    async def all_confirmed(self) -> None:
        """Return when Redis has every new request that was added so far."""
        while self.backlog:
            await self.changed(0.5)

    # --- Requests

    def is_known(self, url: str) -> bool:
        """Whether Redis has confirmed a plain request for `url` in this crawl; a yes counts as a duplicate."""
        if url in self.known or url in self._known_before:
            self.sessions[0].duplicates += 1
            return True
        return False

    def enqueue(self, request: NewRequest, parent: Lease | None = None, url: str = "") -> None:
        """Add a request; `parent` is settled only after Redis has confirmed it. `url` names a plain one."""
        session = self.sessions[self.keys.shard_of(request.domain)]
        child = Child(request, session.number, parent, url)
        if parent is not None:
            parent.unconfirmed += 1
            parent.children.append(child)
        session.arrivals.append(child)
        session.wake()

    def refuse(self, reason: str, times: int = 1) -> None:
        """Account for requests that never came to be."""
        refused = self.sessions[0].refused
        refused[reason] = refused.get(reason, 0) + times

    # --- Leases

    def take(self) -> Lease | None:
        """A lease whose time has come; None where there is none, and `on_leases` will tell.

        With a delay, it is given `early`: the downloader holds it until its `start_at`.
        """
        while self._ready and not self.draining:
            start_at, _, lease = self._ready[0]
            if lease.lost:
                heapq.heappop(self._ready)
                continue
            if lease.delay:
                start_at -= self.early
            if start_at > (now := monotonic()) + _EARLY:
                self._arm(start_at)
                return None
            if not self.is_alive:
                return None
            heapq.heappop(self._ready)
            lease.taken_at = now
            self._taken += 1
            if len(self._ready) * 2 <= self.options.prefetch and self.wanted(session := self._session(lease)):
                session.wake()
            return lease
        return None

    async def start_again(self, lease: Lease) -> None:
        """Return when a request that was sent may be made ready to be sent once more: at the lease's new `start_at`.

        Raises NotLeased where it is somebody else's by then, DomainShut where its domain is to be left alone.
        """
        pause, longest = _PAUSES
        while (start := await self._session(lease).start_again(lease)).what == "wait":
            await asyncio.sleep(max(pause, start.seconds))
            pause = min(longest, 2 * pause)
        if start.what == "lost":
            raise NotLeased
        if start.what == "shut":
            raise DomainShut(start.seconds)
        lease.start_at, lease.delay = monotonic() + start.seconds, start.delay
        if (wait := start.seconds - self.early) > 0:
            await asyncio.sleep(wait)

    def began(self, lease: Lease) -> None:
        """Its request has just been sent."""
        lease.started = True
        if lease.delay:
            self._say(lease, ("began", lease, monotonic()))

    def ended(self, lease: Lease, latency: float, verdict: int = 0, retry_after: float = 0.0) -> None:
        """Its download is over after `latency` seconds. Verdict 0: good, 1: failed, 2: throttled, 3: not asked."""
        if not lease.ended:
            lease.ended = True
            wait = round(retry_after * 1000)
            if wait:
                self._leave_alone(lease.domain)
            self._say(lease, ("ended", lease, round(latency * 1000), verdict, wait))

    def heard(self, lease: Lease, wait: int) -> None:
        """Redis has been told of a download's end, or will not be: `wait` milliseconds its domain asked for."""
        if wait:
            self._left_alone -= Counter((lease.domain,))

    def _leave_alone(self, domain: str) -> None:
        """What is leased of the domain and not started waits in Redis, and so does what is on its way here."""
        self._left_alone[domain] += 1
        of_it = [entry for entry in self._ready if entry[2].domain == domain]
        self._ready = [entry for entry in self._ready if entry[2].domain != domain]
        heapq.heapify(self._ready)
        for _, _, lease in of_it:
            if not lease.lost:
                self.release(lease)

    def settle(
        self,
        lease: Lease,
        outcome: str,
        reason: str = "",
        after: Awaitable[Any] | None = None,
        letters: int = 0,
        notes: Sequence[Note] = (),
    ) -> None:
        """The request's outcome. With `after`, once that is done; where it raises, the request goes back.

        `letters`: how many dead letters Kafka has of one that is dead. `notes` on products are written with it, or not
        at all.
        """
        if after is not None:
            task = asyncio.ensure_future(self._settle_after(lease, outcome, reason, after, letters, notes))
            self._afters.add(task)
            task.add_done_callback(self._afters.discard)
        else:
            ending = ("settle", lease, int(lease.started), outcome, reason, letters)
            self._end(lease, (*ending, notes) if notes else ending)

    def hand_over(self, lease: Lease, on_done: Callable[[], None]) -> None:
        """Its records are to be committed with its settlement: `on_done()` when Redis has all its children, or when the
        lease is lost.

        From then on it is the caller's to settle; `take_back` undoes that, `forget` ends it.
        """
        lease.on_done = on_done
        self._end(lease, ("done", lease, int(lease.started)))
        if lease.lost:
            lease.done()

    def take_back(self, lease: Lease) -> None:
        """A lease that was handed over is to be settled here after all; nothing where it is lost."""
        if not lease.lost:
            lease.settled = False

    def retry(self, lease: Lease, reason: str, not_before: float = 0.0, data: bytes = b"") -> str:
        """Fetch it again later, as `data` where it is given: 'retried', or 'dead' where it had all its attempts."""
        seconds = max(not_before, self._backoff(lease.attempts))
        options = (round(seconds * 1000), reason, self.options.most_attempts, data)
        self._end(lease, ("retry", lease, int(lease.started), *options))
        return "dead" if lease.attempts + 1 >= self.options.most_attempts else "retried"

    def postpone(self, lease: Lease, seconds: float) -> None:
        """Fetch it again after so long. Nothing was sent, and no attempt is counted."""
        self._end(lease, ("postpone", lease, int(lease.started), round(seconds * 1000)))

    def release(self, lease: Lease) -> None:
        """Back to its place, as if it had not been leased."""
        self._end(lease, ("release", lease, int(lease.started)))

    def look_for_room(self) -> None:
        """What kept leases from being asked for is over."""
        for session in self.sessions:
            session.wake()

    def crawl_delay(self, budget: str, domain: str, seconds: float) -> None:
        """The Crawl-delay that the robots.txt of a domain asks for, which is charged to `budget`; 0 is none."""
        session = self.sessions[self.keys.shard_of(budget)]
        session.operations.append(("delay", budget, round(seconds * 1000), domain))
        session.wake()

    async def _settle_after(
        self,
        lease: Lease,
        outcome: str,
        reason: str,
        after: Awaitable[Any],
        letters: int,
        notes: Sequence[Note],
    ) -> None:
        try:
            await after
        except Exception as error:
            log.warning("not confirmed", error=str(error))
            self.release(lease)
        else:
            self.settle(lease, outcome, reason, letters=letters, notes=notes)

    def _end(self, lease: Lease, operation: tuple[Any, ...]) -> None:
        if lease.settled:
            raise ValueError(f"settled twice: {lease.data[:80]!r}")
        lease.settled = True
        if lease.lost:
            self.forget(lease)
        else:
            self._say(lease, operation)

    def _say(self, lease: Lease, operation: tuple[Any, ...]) -> None:
        session = self._session(lease)
        session.operations.append(operation)
        session.wake()

    def _session(self, lease: Lease) -> Session:
        return self.sessions[lease.shard]

    def _backoff(self, attempts: int) -> float:
        """Exponential, with full jitter."""
        return random.uniform(0, min(self.options.retry_longest, self.options.retry_base * 2**attempts))

    def _arm(self, start_at: float) -> None:
        """Have `on_leases` called when the next lease may start."""
        if self._timer is None or self._timer.when() > start_at or self._timer.cancelled():
            if self._timer is not None:
                self._timer.cancel()
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.0, start_at - monotonic()), self._fire)

    def _fire(self) -> None:
        self._timer = None
        self._on_leases()

    # --- What the sessions report

    def may_ask(self, session: Session) -> bool:
        """Whether this session's shard may be asked for leases, or at least how the crawl is."""
        return not self.draining and session.state in _ASKING

    def wanted(self, session: Session) -> int:
        """How many leases to ask this session's shard for."""
        if not self.may_ask(session) or not self.may_lease(session.number):
            return 0
        target = min(self.options.prefetch, self.free_places() + max(_LEAST_AHEAD, round(self._pace() * _AHEAD)))
        room = target - len(self._ready)
        return -(-room // len(self.sessions)) if room * 2 >= target else 0

    @property
    def is_starved(self) -> bool:
        """Whether requests could be started, and none is leased."""
        return not self._ready and not self.draining and self.free_places() > 0

    def _pace(self) -> float:
        """Leases taken per second, lately."""
        elapsed = monotonic() - self._paced_at
        if elapsed >= _AHEAD:
            self._paced_at = monotonic()
            self._takes_per_second = (self._takes_per_second + self._taken / elapsed) / 2
            self._taken = 0
        return self._takes_per_second

    def add(self, lease: Lease) -> None:
        """A new lease has arrived."""
        self.held[lease.id] = lease
        if lease.domain in self._left_alone:
            self.release(lease)
            return
        self._ticket += 1
        heapq.heappush(self._ready, (lease.start_at, self._ticket, lease))
        if self.draining:
            self.drain()

    def confirmed(self, child: Child) -> None:
        """Redis has a new request."""
        if child.url and not self.is_over:
            self._remember(child.url)
        parent = child.parent
        if parent is not None:
            parent.unconfirmed -= 1
            if not parent.unconfirmed and (operation := self.waiting.pop(parent.id, None)):
                self._say(parent, operation)

    def counted(self, added: int, duplicates: int, over: int) -> None:
        """Redis has told how a batch of new requests was taken."""
        metrics.FRONTIER_ENQUEUED.labels("added").inc(added)
        metrics.FRONTIER_ENQUEUED.labels("duplicate").inc(duplicates)
        metrics.FRONTIER_ENQUEUED.labels("page limit").inc(over)

    def forget(self, lease: Lease) -> None:
        """Redis has confirmed a lease's end."""
        if self.held.get(lease.id) is lease:
            del self.held[lease.id]

    def lose(self, id_: bytes) -> None:
        """The lease of that request is no longer this worker's."""
        if (lease := self.held.get(id_)) is not None:
            self.lost(lease)

    def lost(self, lease: Lease) -> None:
        """A lease is no longer this worker's; it may have another one of the same request."""
        if lease.lost:
            return
        lease.lost = True
        metrics.LEASES_LOST.inc()
        if self.held.get(lease.id) is lease:
            del self.held[lease.id]
            self.waiting.pop(lease.id, None)
        lease.done()

    def exchanged(self) -> None:
        """A round trip is over."""
        self._changed.set()
        if self._ready or self.exhausted:
            self._on_leases()

    async def restart_after(self, restarts: int) -> None:
        """Return when there were more restarts of Redis than that."""
        while self.restarts <= restarts:
            self._restarted.clear()
            await self._restarted.wait()

    def restarted(self) -> None:
        """A server of Redis may not know any more what it knew."""
        self.restarts += 1
        self._restarted.set()
        self.known = set()
        self._known_before = set()

    def _remember(self, url: str) -> None:
        self.known.add(url)
        if len(self.known) >= _KNOWN:
            self._known_before, self.known = self.known, set()

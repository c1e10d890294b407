"""A shard of the frontier as its Lua scripts see it: the real scripts in a real Redis, on a clock that tests move."""

from __future__ import annotations

import hashlib
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple

import msgpack
from redis import Redis

from crawlers.frontier.keys import Keys
from crawlers.frontier.leases import NewRequest
from crawlers.frontier.scripts import SOURCES

REAL_CLOCK = "call('TIME')"
TEST_CLOCK = "call('HMGET', S .. ':clock', 'seconds', 'microseconds')"
START = 1_800_000_000_000
"""What the clock shows first, in milliseconds."""
DUMP = """
local how = {string = {'GET'}, hash = {'HGETALL'}, set = {'SMEMBERS'}, zset = {'ZRANGE', 0, -1, 'WITHSCORES'}}
local rows = {}
for _, name in ipairs(redis.call('KEYS', ARGV[1])) do
  local kind = redis.call('TYPE', name).ok
  rows[#rows + 1] = {name, kind, redis.call(how[kind][1], name, unpack(how[kind], 2))}
end
return cmsgpack.pack(rows)
"""
OUTCOMES = ("delivered", "expanded", "redirected", "empty", "filtered", "dead")
LIVES = 30_000
"""Milliseconds without a heartbeat."""
MOST_LOSSES = 3
MOST_ATTEMPTS = 3
LOOK = 500
GOOD, FAILED, THROTTLED, UNASKED = 0, 1, 2, 3


@dataclass
class Limits:
    """The settings of a fleet that the scripts are given, in milliseconds where they are times."""

    delay: int = 0
    concurrency: int = 4
    failures_to_open: int = 3
    cool_down: int = 1000
    longest_cool_down: int = 3000
    openings_to_give_up: int = 3
    seconds_kept: int = 60


class Leased(NamedTuple):
    """A lease, its start as a moment of the test's clock."""

    id: bytes
    token: bytes
    domain: str
    start: int
    delay: int
    attempts: int
    data: bytes
    revived: int = 0
    has_led: int = 0
    """1 where it was worked on before."""


class LeaseReply(NamedTuple):
    state: str
    open: int
    version: int
    due: int
    leases: list[Leased]


def page(number: int, domain: str = "shop.example", priority: int = 0, **fields: Any) -> NewRequest:
    """A request whose fingerprint and bytes `number` names. Fields are NewRequest's."""
    id_ = hashlib.sha1(b"%d" % number).digest()[:8]
    given = {"seed": 0, "group": "", "limit": 0, **fields}
    return NewRequest(id_, decimal(id_), domain, priority, data=b"page %d" % number, **given)


def unfiltered(number: int, domain: str = "shop.example") -> NewRequest:
    """A request for that page that is taken however often it is asked for, under an id of its own."""
    id_ = secrets.token_bytes(8)
    return page(number, domain)._replace(id=id_, fingerprint=decimal(id_), original=page(number).id)


def decimal(fingerprint: bytes) -> str:
    return str(int.from_bytes(fingerprint, "big", signed=True))


def pages(*numbers: int, **fields: Any) -> list[NewRequest]:
    return [page(number, **fields) for number in numbers]


def numbers(leases: list[Leased]) -> list[int]:
    """Those of the pages."""
    return [int(lease.data.split()[1]) for lease in leases]


class Shard:
    """One shard under a namespace of its own. With `test_clock` its scripts read the time that `now` tells."""

    def __init__(self, client: Redis, limits: Limits | None = None, *, test_clock: bool = True):
        self.client = client
        self.limits = limits or Limits()
        self.keys = Keys(f"test-{secrets.token_hex(6)}", "spider")
        self.root = self.keys.shard(0)
        self.numbers = count(1)
        """Of workers and tokens."""
        self.crawls: dict[str, Crawl] = {}
        self.now = START
        self._digests = self._load(test_clock)
        self.advance(0)

    def _load(self, test_clock: bool) -> dict[str, str]:
        assert all(source.count(REAL_CLOCK) == 1 for source in SOURCES.values())
        change = (REAL_CLOCK, TEST_CLOCK) if test_clock else ("", "")
        with self.client.pipeline(transaction=False) as pipeline:
            for source in SOURCES.values():
                pipeline.script_load(source.replace(*change))
            return dict(zip(SOURCES, pipeline.execute(), strict=True))

    def advance(self, milliseconds: int) -> None:
        """Let time pass."""
        self.now += milliseconds
        seconds, rest = divmod(self.now, 1000)
        self.client.hset(f"{self.root}:clock", mapping={"seconds": seconds, "microseconds": rest * 1000})

    def crawl(self, name: str = "crawl", state: str = "running", **meta: str | int) -> Crawl:
        """The crawl of that name, in that state."""
        if name not in self.crawls:
            self.crawls[name] = Crawl(self, name, self.keys.crawl(0, name))
        self.crawls[name].set(state=state, **meta)
        return self.crawls[name]

    def worker(self, crawl: str = "crawl") -> Worker:
        """A new worker of a crawl."""
        return Worker(self, self.crawls.get(crawl) or self.crawl(crawl))

    def run(self, script: str, crawl: str, *arguments: str | bytes | int) -> Any:
        return self.client.evalsha(self._digests[script], 2, self.root, crawl, *arguments)

    def reap(self, worker: Worker | None = None) -> tuple[int, int]:
        """(workers that were ended, leases that they held)"""
        name = worker.name if worker else ""
        ended, leases = self.run("reap", self.root, LIVES, MOST_LOSSES, self.limits.delay, name)
        return ended, leases

    def lose(self, worker: Worker) -> tuple[int, int]:
        """A worker's heartbeat has stopped long ago, and the others see it."""
        self.client.zadd(f"{self.root}:workers", {worker.name: self.now - 1})
        return self.reap()

    def domain(self, name: str = "shop.example") -> dict[str, str]:
        """A domain's politeness."""
        found = self.client.hgetall(f"{self.root}:domain:{name}")
        return {field.decode(): value.decode() for field, value in found.items()}

    def set_domain(self, name: str = "shop.example", **fields: str | int) -> None:
        self.client.hset(f"{self.root}:domain:{name}", mapping=fields)

    def dump(self) -> dict[str, Any]:
        """Every key of the namespace but the clock, with what it holds."""
        rows = msgpack.unpackb(self.client.eval(DUMP, 0, f"{self.keys.namespace}:*"), raw=True)
        found = {name.decode().removeprefix(f"{self.root}:"): _READ[kind](value) for name, kind, value in rows}
        found.pop("clock", None)
        return found

    def forget(self) -> None:
        """Delete every key of the namespace."""
        if names := list(self.client.scan_iter(f"{self.keys.namespace}:*", 1000)):
            self.client.delete(*names)

    def state(self) -> State:
        """What the shard holds."""
        return State(self.dump(), [crawl.root.removeprefix(f"{self.root}:") for crawl in self.crawls.values()])

    def check(self) -> State:
        """What the shard holds, which must fit together."""
        state = self.state()
        state.check()
        return state


def _pairs(flat: list[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


_READ: dict[bytes, Callable[[Any], Any]] = {b"string": bytes, b"hash": _pairs, b"set": set, b"zset": _pairs}


@dataclass
class Crawl:
    """One crawl's part of a shard."""

    shard: Shard
    name: str
    root: str

    def set(self, **meta: str | int) -> None:
        self.shard.client.hset(f"{self.root}:meta", mapping=meta)

    @property
    def counts(self) -> dict[str, int]:
        """What is counted and not zero, but for the version."""
        found = {name.decode(): int(n) for name, n in self.shard.client.hgetall(f"{self.root}:counts").items()}
        return {name: n for name, n in found.items() if n and name != "version"}

    @property
    def dead(self) -> dict[bytes, list[str]]:
        """The bytes of the dead requests -> the reasons of their attempts."""
        rows = [msgpack.unpackb(row, raw=True) for row in self.shard.client.hgetall(f"{self.root}:dead").values()]
        return {request: [reason.decode() for reason in reasons] for _, _, request, _, reasons, *_ in rows}

    @property
    def ready(self) -> dict[str, int]:
        """Domain -> moment that it may be looked at."""
        found = self.shard.client.zrange(f"{self.root}:ready", 0, -1, withscores=True)
        return {name.decode(): int(score) for name, score in found}

    def revive(self, *ids: bytes) -> int:
        """How many of them were dead, and are pending again."""
        return self.leave("queue", *((id_, 0, "") for id_ in ids)).count("done")

    def leave(self, action: str, *dead: tuple[bytes, int, str], milliseconds: int = 0, replay: str = "") -> list[str]:
        """What became of each (id, death, letter)."""
        parts = [part for one in dead for part in one]
        kept = self.shard.limits.seconds_kept
        told = self.shard.run("revive", self.root, action, milliseconds, kept, replay, *parts)
        return [word.decode() for word in told]

    def letters(self, action: str, *arguments: bytes | int) -> list[list[Any]]:
        """The outbox of dead letters."""
        return msgpack.unpackb(self.shard.run("letters", self.root, action, *arguments), raw=True)

    def totals(self) -> list[Any]:
        return msgpack.unpackb(self.shard.run("totals", self.root))

    def outcome(self, id_: bytes) -> str | None:
        """What is remembered of a settled request."""
        names = self.shard.client.scan_iter(f"{self.root}:done:*", 1000)
        found = [value.decode() for name in names if (value := self.shard.client.hget(name, id_))]
        assert len(found) <= 1
        return found[0] if found else None


class Worker:
    """A worker of a crawl, which calls the scripts as a session does."""

    def __init__(self, shard: Shard, crawl: Crawl):
        self.shard = shard
        self.crawl = crawl
        self.name = f"worker {next(shard.numbers)}"
        self.enqueued = self.settled = 0
        """Sequence numbers of its last batches."""
        self.session = 0
        """The number of its connection."""
        self.register()

    def register(self) -> None:
        """As every new connection does at first."""
        self.session += 1
        self._run("register", LIVES, "{}", self.session)

    def enqueue(self, *requests: NewRequest, **more: Any) -> Any:
        """(added, duplicates, over a limit), or b'gone'."""
        self.enqueued += 1
        return self.enqueue_again(*requests, **more)

    def enqueue_again(
        self, *requests: NewRequest, duplicates: int = 0, refused: dict[str, int] | None = None, crawl_limit: int = 0
    ) -> Any:
        """The same under the sequence number of the batch before."""
        batch = msgpack.packb([requests, duplicates, refused or {}, crawl_limit], use_bin_type=False)
        reply = self._run("enqueue", self.enqueued, batch)
        return reply if reply == b"gone" else tuple(msgpack.unpackb(reply)[:3])

    def ask(
        self,
        want: int = 100,
        look: int = LOOK,
        per_domain: int = 100,
        go_on: tuple[str, ...] = (),
        slots: str = "",
    ) -> LeaseReply:
        """A call for leases, and all of its reply; `go_on` names domains that it plans for already."""
        token, limits = b"%08d" % next(self.shard.numbers), self.shard.limits
        politeness = (look, per_domain, limits.delay, limits.concurrency)
        reply = self._run("lease", token, want, *politeness, self.session, slots, *go_on)
        state, open_, version, due, rows = msgpack.unpackb(reply, raw=True)
        leases = [
            Leased(id_, token, domain.decode(), self.shard.now + wait, delay, attempts, data, revived, has_led)
            for id_, wait, delay, attempts, domain, data, _, revived, has_led in rows
        ]
        return LeaseReply(state.decode(), open_, version, due, leases)

    def lease(self, want: int = 100, look: int = LOOK, per_domain: int = 100, slots: str = "") -> list[Leased]:
        return self.ask(want, look, per_domain, slots=slots).leases

    def again(self, lease: Leased, look: int = LOOK) -> tuple[str, int, int]:
        """(what, moment, delay): whether and when a request that was sent may be sent once more."""
        what, wait, delay = self._run("again", lease.id, lease.token, self.shard.limits.delay, look)
        return what.decode(), self.shard.now + wait, delay

    def settle(self, *operations: tuple[Any, ...]) -> tuple[int, list[bytes]]:
        """(leases that were no longer its own, ids that ran out of attempts)"""
        self.settled += 1
        return self.settle_again(*operations)

    def settle_again(self, *operations: tuple[Any, ...]) -> tuple[int, list[bytes]]:
        """The same under the sequence number of the batch before."""
        limits = self.shard.limits
        settings = [
            limits.delay,
            limits.failures_to_open,
            limits.cool_down,
            limits.longest_cool_down,
            limits.openings_to_give_up,
            limits.seconds_kept,
        ]
        packed = msgpack.packb(operations, use_bin_type=False)
        stale, dead = msgpack.unpackb(self._run("settle", self.settled, packed, msgpack.packb(settings)), raw=True)
        return stale, dead

    def renew(self) -> int:
        return self._run("renew", LIVES)

    def reconcile(self, *leases: Leased) -> list[bytes]:
        """The ids that are not, or no longer, its own."""
        known = [part for lease in leases for part in (lease.id, lease.token)]
        return self._run("reconcile", self.shard.limits.delay, self.session, *known)

    def _run(self, script: str, *arguments: str | bytes | int) -> Any:
        return self.shard.run(script, self.crawl.root, self.name, *arguments)


def began(lease: Leased, since: int = 0) -> tuple[Any, ...]:
    return ("began", lease.id, lease.token, since)


def ended(lease: Leased, latency: int = 100, verdict: int = 0, retry_after: int = 0) -> tuple[Any, ...]:
    """Verdict 0: good, 1: failed, 2: throttled, 3: not asked."""
    return ("ended", lease.id, lease.token, latency, verdict, retry_after)


def settle(
    lease: Leased, outcome: str = "delivered", reason: str = "", letters: int = 0, *, started: bool = True
) -> tuple[Any, ...]:
    return ("settle", lease.id, lease.token, int(started), outcome, reason, letters)


def retry(
    lease: Leased, after: int = 0, reason: str = "timeout", data: bytes = b"", *, started: bool = True
) -> tuple[Any, ...]:
    return ("retry", lease.id, lease.token, int(started), after, reason, MOST_ATTEMPTS, data)


def postpone(lease: Leased, after: int = 0, *, started: bool = True) -> tuple[Any, ...]:
    return ("postpone", lease.id, lease.token, int(started), after)


def release(lease: Leased, *, started: bool = False) -> tuple[Any, ...]:
    return ("release", lease.id, lease.token, int(started))


def crawl_delay(domain: str, milliseconds: int) -> tuple[Any, ...]:
    return ("delay", domain, milliseconds)


@dataclass
class Part:
    """A crawl as the keys of a shard tell it."""

    counts: dict[str, int]
    queued: dict[bytes, str]
    """Id -> domain, as for the others."""
    delayed: dict[bytes, str]
    leased: dict[bytes, str]
    dead: dict[bytes, str]
    holders: dict[bytes, str]
    """Id -> worker."""
    ready: set[str]
    given_up: set[str]
    """Domains."""
    ages: dict[int, int]
    """Minute of arrival -> open requests."""
    places: Counter[bytes] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        for place in (self.queued, self.delayed, self.leased, self.dead):
            self.places.update(place.keys())


class State:
    """What the keys of a shard say, in Python's terms."""

    def __init__(self, dump: dict[str, Any], crawls: list[str]):
        self.dump = dump
        self.crawls = {crawl: self._part(crawl) for crawl in crawls}
        self.workers: set[str] = {name.decode() for name in dump.get("workers", {})}
        self.held = self._by_worker("held:")
        self.busy = self._by_worker("busy:")
        self.domains: dict[str, dict[bytes, bytes]] = self._under("domain:")

    def _under(self, prefix: str) -> dict[str, Any]:
        return {name[len(prefix) :]: value for name, value in self.dump.items() if name.startswith(prefix)}

    def _by_worker(self, prefix: str) -> dict[str, set[bytes]]:
        return self._under(prefix)

    def _part(self, crawl: str) -> Part:
        def rows(name: str) -> dict[bytes, list[Any]]:
            found = self.dump.get(f"{crawl}:{name}", {})
            return {id_: msgpack.unpackb(row, raw=True) for id_, row in found.items()}

        queues = self._under(f"{crawl}:queue:")
        leases, later = rows("leases"), rows("later")
        assert set(self.dump.get(f"{crawl}:delayed", {})) == set(later)
        queued = [(member[:8], domain) for domain, queue in queues.items() for member in queue]
        assert len(dict(queued)) == len(queued), "an id is queued twice"
        return Part(
            counts={name.decode(): int(n) for name, n in self.dump.get(f"{crawl}:counts", {}).items()},
            queued=dict(queued),
            delayed={id_: row[0].decode() for id_, row in later.items()},
            leased={id_: row[2].decode() for id_, row in leases.items()},
            dead={id_: row[0].decode() for id_, row in rows("dead").items()},
            holders={id_: row[1].decode() for id_, row in leases.items()},
            ready={name.decode() for name in self.dump.get(f"{crawl}:ready", {})},
            given_up={name.decode() for name in self.dump.get(f"{crawl}:down", {})},
            ages={int(minute): int(n) for minute, n in self.dump.get(f"{crawl}:ages", {}).items()},
        )

    def prepared(self) -> dict[str, set[bytes]]:
        """Ids of the requests that slots have, by slot."""
        batches = {
            f"slot {number}": slot[b"batch"] for number, slot in self._under("slot:").items() if b"batch" in slot
        }
        return {slot: {row[0] for row in msgpack.unpackb(packed, raw=True)} for slot, packed in batches.items()}

    def check(self) -> None:
        for part in self.crawls.values():
            self._check_counts(part)
        self._check_leases()
        self._check_domains()
        self._check_that_nothing_is_forgotten()

    def _check_counts(self, part: Part) -> None:
        counts = part.counts
        accounted = sum(counts.get(name, 0) for name in (*OUTCOMES, "pending")) + len(part.delayed) + len(part.leased)
        assert counts.get("seeded", 0) + counts.get("discovered", 0) == accounted, counts
        assert counts.get("pending", 0) == len(part.queued)
        assert sum(part.ages.values()) == len(part.queued) + len(part.delayed) + len(part.leased)
        assert all(n > 0 for n in part.ages.values()), part.ages
        assert counts.get("dead", 0) == len(part.dead)
        for term in ("dead", "filtered"):
            by_reason = [n for name, n in counts.items() if name.startswith(f"{term}:")]
            assert sum(by_reason) == counts.get(term, 0), counts
        assert all(n >= 0 for n in counts.values()), counts
        assert all(times == 1 for times in part.places.values()), "a request is in two places"

    def _check_leases(self) -> None:
        held: dict[str, set[bytes]] = {}
        prepared: dict[str, set[bytes]] = {}
        for part in self.crawls.values():
            for id_, holder in part.holders.items():
                (prepared if holder.startswith("slot ") else held).setdefault(holder, set()).add(id_)
        assert self.held == held
        assert self.prepared() == prepared
        assert set(held) <= self.workers, "a lease whose worker nobody would miss"
        for worker, ids in self.busy.items():
            assert ids <= held.get(worker, set())

    def _check_domains(self) -> None:
        busy, owners = Counter[str](), set[tuple[str, str]]()
        for part in self.crawls.values():
            for id_, domain in part.leased.items():
                owners.add((domain, part.holders[id_]))
                busy[domain] += id_ in self.busy.get(part.holders[id_], set())
        for name, fields in self.domains.items():
            assert int(fields.get(b"f", 0)) == busy.pop(name, 0), name
            assert (b"u" in fields) == (b"o" in fields), name
            if b"u" in fields:
                assert int(fields[b"u"]) > 0, name
                assert (name, fields[b"o"].decode()) in owners, f"{name} belongs to a worker that has no lease of it"
        assert not +busy

    def _check_that_nothing_is_forgotten(self) -> None:
        for crawl, part in self.crawls.items():
            for name in set(part.queued.values()) - part.ready:
                fields = self.domains.get(name, {})
                waiting = fields.get(b"w", b"").decode().split("\n")
                assert any(waiter.endswith(f"}}:{crawl}") for waiter in waiting), f"{name} is forgotten"
                assert int(fields.get(b"f", 0)) or b"u" in fields, f"{name} waits for nothing"

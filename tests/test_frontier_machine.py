"""The frontier's scripts under any order of events: two crawls, workers that come and die, domains with a delay or not.

A small model knows what must be open, leased, dead and settled. After every event the shard must agree with it, and
with itself. SEINE_HYPOTHESIS=long looks further than `make test` does.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from redis import Redis

from crawlers.frontier.leases import NewRequest
from tests.frontier_shard import (
    MOST_ATTEMPTS,
    MOST_LOSSES,
    Crawl,
    Leased,
    Limits,
    Part,
    Shard,
    Worker,
    began,
    crawl_delay,
    ended,
    page,
    release,
    retry,
    settle,
    unfiltered,
)
from tests.servers.redis import RedisServer

DOMAINS = {
    "quick.example": {"c": 3},
    "slow.example": {"d": 100, "c": 4},
    "slower.example": {"d": 400, "c": 3},
    "single.example": {"c": 1},
}
PAGES = 48
LIMITED, LIMIT, CRAWL_LIMIT = "quick.example", 9, 40
CLOSEST = 0.9
OUTCOMES = ("delivered", "expanded", "redirected", "empty", "filtered", "dead")
QUIET = {"suppress_health_check": list(HealthCheck), "deadline": None}
PROFILES = {
    "quick": settings(max_examples=70, stateful_step_count=50, derandomize=True, database=None, **QUIET),
    "long": settings(max_examples=3000, stateful_step_count=100, **QUIET),
}

some = st.integers(0, 99)
"""Which one of what there is, whatever its number."""


@dataclass(eq=False)
class Held:
    """A lease, as the worker that holds it knows it."""

    lease: Leased
    started: bool = False
    ended: bool = False

    @property
    def is_planned(self) -> bool:
        """Whether its domain waits for its start."""
        return self.lease.delay > 0 and not self.started


@dataclass(eq=False)
class Member:
    """A worker, and what it believes to hold."""

    worker: Worker
    crawl: Expected
    held: list[Held] = field(default_factory=list)
    enqueue_again: Callable[[], bool] = lambda: True
    """Send the last batch of new requests again; whether it is answered as before."""
    last_starts: dict[str, int] = field(default_factory=dict)


@dataclass(eq=False)
class Expected:
    """What a crawl should be."""

    crawl: Crawl
    state: str = "running"
    domains: dict[bytes, str] = field(default_factory=dict)
    """Of every request that was ever taken, by id."""
    waiting: set[bytes] = field(default_factory=set)
    """Pending or delayed."""
    dead: set[bytes] = field(default_factory=set)
    seen: set[bytes] = field(default_factory=set)
    reasons: dict[bytes, list[str]] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)
    counted: Counter[str] = field(default_factory=Counter)
    admitted: Counter[str] = field(default_factory=Counter)

    def fails(self, id_: bytes, reason: str, most: int) -> bool:
        """Whether an attempt that failed so was the last one."""
        reasons = self.reasons.setdefault(id_, [])
        reasons.append(reason)
        lost = reasons.count("worker lost")
        is_last = (lost if reason == "worker lost" else len(reasons) - lost) >= most
        if is_last:
            del self.reasons[id_]
        (self.dead if is_last else self.waiting).add(id_)
        return is_last


class FrontierMachine(RuleBasedStateMachine):
    client: Redis

    def __init__(self) -> None:
        super().__init__()
        limits = Limits(failures_to_open=2, cool_down=500, longest_cool_down=2000, openings_to_give_up=3)
        self.shard = Shard(self.client, limits)
        for name, fields in DOMAINS.items():
            self.shard.set_domain(name, **fields)
        self.crawls = [Expected(self.shard.crawl(name)) for name in ("one", "two")]
        self.members: list[Member] = []
        self.ghosts: list[Member] = []
        """Workers that were taken for dead, and do not know it."""
        self.last_starts: dict[str, tuple[int, int]] = {}
        """Moment and delay of the last request that a domain with a delay really saw."""
        self.not_before: dict[str, int] = {}
        """What domains asked for by Retry-After."""
        for crawl in (*self.crawls, *self.crawls):
            self.join(crawl)
        for number in (0, 1):
            self.enqueue(number, list(range(0, PAGES, 2)), [], 1, 0)

    def join(self, crawl: Expected) -> Member:
        self.members.append(Member(self.shard.worker(crawl.crawl.name), crawl))
        return self.members[-1]

    def member(self, number: int) -> Member:
        return self.members[number % len(self.members)]

    def any_held(self, number: int, most: int) -> tuple[Member, list[Held]]:
        """So many of a worker's leases."""
        holders = [member for member in self.members if member.held]
        member = holders[number % len(holders)]
        first = number % len(member.held)
        return member, member.held[first : first + most]

    def something_is_held(self) -> bool:
        return any(member.held for member in self.members)

    # --- Requests come

    @rule(
        which=some,
        numbers=st.lists(st.integers(0, PAGES - 1), max_size=12),
        copies=st.lists(st.integers(0, PAGES - 1), max_size=2),
        seed=st.integers(0, 1),
        refused=st.integers(0, 2),
    )
    def enqueue(self, which: int, numbers: list[int], copies: list[int], seed: int, refused: int) -> None:
        member = self.member(which)
        requests = [*(self.page(number, seed) for number in numbers), *(self.copy(number) for number in copies)]
        expected = tuple(self.take_in(member.crawl, requests))
        member.crawl.counted["discovered"] += refused
        member.crawl.outcomes["filtered"] += refused
        more = {"refused": {"offsite": refused}, "crawl_limit": CRAWL_LIMIT}
        assert member.worker.enqueue(*requests, **more) == expected
        member.enqueue_again = lambda: member.worker.enqueue_again(*requests, **more) == expected
        assert member.enqueue_again()

    def page(self, number: int, seed: int) -> NewRequest:
        name = list(DOMAINS)[number % len(DOMAINS)]
        limits = {"group": LIMITED, "limit": LIMIT} if name == LIMITED else {}
        return page(number, name, priority=number % 3, seed=seed, **limits)

    def copy(self, number: int) -> NewRequest:
        return unfiltered(number, list(DOMAINS)[number % len(DOMAINS)])

    def take_in(self, crawl: Expected, requests: Iterable[NewRequest]) -> list[int]:
        """[added, duplicates, over a limit]"""
        reply = [0, 0, 0]
        for request in requests:
            if request.id in crawl.seen:
                reply[1] += 1
                continue
            crawl.seen.add(request.id)
            crawl.counted["seeded" if request.seed else "discovered"] += 1
            in_group, in_crawl = crawl.admitted[request.group], crawl.admitted[""]
            if (request.limit and in_group >= request.limit) or in_crawl >= CRAWL_LIMIT:
                reply[2] += 1
                crawl.outcomes["filtered"] += 1
                continue
            crawl.admitted[""] += 1
            if request.group:
                crawl.admitted[request.group] += 1
            reply[0] += 1
            crawl.domains[request.id] = request.domain
            crawl.waiting.add(request.id)
        return reply

    # --- Leases

    @rule(
        which=some,
        want=st.integers(1, 20),
        per_domain=st.integers(1, 8),
        is_answered=st.sampled_from([True] * 5 + [False]),
    )
    def lease(self, which: int, want: int, per_domain: int, is_answered: bool) -> None:
        member = self.member(which)
        reply = member.worker.ask(want, per_domain=per_domain)
        assert reply.state == member.crawl.state
        leases = reply.leases
        assert len(leases) <= want
        assert not leases or reply.state == "running"
        for lease in leases:
            assert lease.id in member.crawl.waiting
            assert lease.domain == member.crawl.domains[lease.id]
            reasons = member.crawl.reasons.get(lease.id, [])
            assert lease.attempts == len([why for why in reasons if why != "worker lost"])
            assert lease.start >= max(self.shard.now, self.not_before.get(lease.domain, 0))
        if is_answered:
            member.crawl.waiting -= {lease.id for lease in leases}
            member.held += map(Held, leases)
        else:
            assert member.worker.reconcile(*(held.lease for held in member.held)) == []

    def notice_what_was_taken_off(self, crawl: Expected, part: Part) -> None:
        """Calls for leases bury what waits for a domain that was given up, and empty a crawl that was cancelled."""
        buried = part.dead.keys() - crawl.dead
        assert buried <= crawl.waiting
        for id_ in buried:
            assert part.dead[id_] in part.given_up
            crawl.reasons.pop(id_, None)
        crawl.dead |= buried
        crawl.waiting -= buried
        if crawl.state == "cancelled":
            taken_off = crawl.waiting - part.queued.keys() - part.delayed.keys()
            crawl.outcomes["filtered"] += len(taken_off)
            crawl.waiting -= taken_off

    @rule(which=some, want=st.integers(1, 20), done=st.integers(0, 8), is_good=st.booleans())
    def work(self, which: int, want: int, done: int, is_good: bool) -> None:
        """What mostly happens: leases are taken and sent; some are delivered, or fail and are tried again."""
        member = self.member(which)
        self.lease(which, want, per_domain=4, is_answered=True)
        self.work_off(member, member.held[:done], is_good)

    def work_off(self, member: Member, some_held: list[Held], is_good: bool = True) -> None:
        sent = [start for held in some_held for start in self.send(member, held)]
        starts = [began(lease, self.shard.now - at) for lease, at in sent]
        ends = [ended(held.lease, verdict=int(not is_good)) for held in some_held if not held.ended]
        for held in some_held:
            if is_good:
                self.settled(member, held, "delivered")
            else:
                member.held.remove(held)
                member.crawl.fails(held.lease.id, "timeout", MOST_ATTEMPTS)
        self.tell(member, *starts, *ends, *((settle if is_good else retry)(held.lease) for held in some_held))

    # --- Downloads

    @precondition(lambda self: any(held.is_planned for member in self.members for held in member.held))
    @rule(which=some, late=st.sampled_from([0, 0, 5, 99, 300]), told_after=st.sampled_from([0, 0, 30, 600]))
    def start(self, which: int, late: int, told_after: int) -> None:
        """The worker that holds it sends a request to a domain with a delay, no sooner than it may."""
        planned = [(member, held) for member in self.members for held in member.held if held.is_planned]
        member, held = planned[which % len(planned)]
        sent = self.send(member, held, late)
        self.shard.advance(told_after)
        self.tell(member, *(began(lease, self.shard.now - at) for lease, at in sent))

    def send(self, member: Member, held: Held, late: int = 0) -> list[tuple[Leased, int]]:
        """Start it where that is planned, after those of its domain that are planned before it; when each was."""
        if not held.is_planned:
            return []
        planned = [each for each in member.held if each.is_planned and each.lease.domain == held.lease.domain]
        planned.sort(key=lambda each: each.lease.start)
        return [(each.lease, self.send_one(member, each, late)) for each in planned[: planned.index(held) + 1]]

    def send_one(self, member: Member, held: Held, late: int) -> int:
        name, lease = held.lease.domain, held.lease
        own_last = member.last_starts.get(name, 0)
        at = max(self.shard.now, lease.start, own_last + ceil(CLOSEST * lease.delay)) + late
        self.shard.advance(at - self.shard.now)
        last, delay = self.last_starts.get(name, (0, 0))
        assert at - last >= CLOSEST * min(delay, lease.delay)
        self.last_starts[name] = at, lease.delay
        member.last_starts[name] = at
        held.started = True
        return at

    @precondition(lambda self: any(self.sent(member) for member in self.members))
    @rule(which=some)
    def start_again(self, which: int) -> None:
        """What was sent is to be sent once more, as by a browser after plain HTTP."""
        sent = [(member, held) for member in self.members for held in self.sent(member)]
        planned = {held.lease.domain for member in self.members for held in member.held if held.is_planned}
        wanted = [(member, held) for member, held in sent if held.lease.domain in planned] or sent
        member, held = wanted[which % len(wanted)]
        what, start, delay = member.worker.again(held.lease)
        if what == "go":
            assert start >= max(self.shard.now, self.not_before.get(held.lease.domain, 0))
            held.lease = held.lease._replace(start=start, delay=delay)
            held.started = delay == 0
        else:
            assert what in ("wait", "shut")

    @precondition(lambda self: any(self.sent(member) for member in self.members))
    @rule(
        which=some,
        most=st.integers(1, 6),
        latency=st.sampled_from([50, 5000]),
        verdict=st.sampled_from([0, 1, 2]),
        retry_after=st.sampled_from([0, 700]),
    )
    def end(self, which: int, most: int, latency: int, verdict: int, retry_after: int) -> None:
        """Downloads end, well or not."""
        members = [member for member in self.members if self.sent(member)]
        member = members[which % len(members)]
        for held in self.sent(member)[:most]:
            held.ended = True
            self.tell(member, ended(held.lease, latency, verdict, retry_after))
            if retry_after:
                self.not_before[held.lease.domain] = self.shard.now + retry_after

    def sent(self, member: Member) -> list[Held]:
        return [held for held in member.held if not held.is_planned and not held.ended]

    @rule(which=some, name=st.sampled_from([*DOMAINS]), delay=st.sampled_from([0, 50, 400]))
    def read_robots(self, which: int, name: str, delay: int) -> None:
        self.tell(self.member(which), crawl_delay(name, delay))

    @rule(milliseconds=st.sampled_from([1, 20, 100, 500, 2500, 20_000]))
    def wait(self, milliseconds: int) -> None:
        self.shard.advance(milliseconds)
        for member in self.members:
            assert member.worker.renew() == len(member.held)

    # --- Ends

    @precondition(something_is_held)
    @rule(which=some, most=st.integers(1, 6), outcome=st.sampled_from(OUTCOMES))
    def reach_an_outcome(self, which: int, most: int, outcome: str) -> None:
        member, some_held = self.any_held(which, most)
        for held in some_held:
            self.settled(member, held, outcome)
        self.tell(member, *(settle(held.lease, outcome, "why", started=not held.is_planned) for held in some_held))

    def settled(self, member: Member, held: Held, outcome: str) -> None:
        member.held.remove(held)
        if outcome == "dead":
            member.crawl.dead.add(held.lease.id)
        else:
            member.crawl.outcomes[outcome] += 1
        member.crawl.reasons.pop(held.lease.id, None)

    @precondition(something_is_held)
    @rule(which=some, most=st.integers(1, 6), after=st.sampled_from([0, 100, 3000]))
    def fail(self, which: int, most: int, after: int) -> None:
        member, some_held = self.any_held(which, most)
        last = [held.lease.id for held in some_held if member.crawl.fails(held.lease.id, "timeout", MOST_ATTEMPTS)]
        retries = [retry(held.lease, after, started=not held.is_planned) for held in some_held]
        assert self.tell(member, *retries) == (0, last)
        for held in some_held:
            member.held.remove(held)

    @precondition(something_is_held)
    @rule(which=some, most=st.integers(1, 6))
    def give_back(self, which: int, most: int) -> None:
        member, some_held = self.any_held(which, most)
        self.tell(member, *(release(held.lease, started=not held.is_planned) for held in some_held))
        for held in some_held:
            member.held.remove(held)
            member.crawl.waiting.add(held.lease.id)

    def tell(self, member: Member, *operations: tuple[Any, ...]) -> tuple[int, list[bytes]]:
        stale, dead = member.worker.settle(*operations)
        assert stale == 0
        assert member.worker.settle_again(*operations) == (0, [])
        return stale, dead

    @rule(which=some, number=some)
    def revive(self, which: int, number: int) -> None:
        crawl = self.crawls[which % len(self.crawls)]
        ids = sorted(crawl.dead)[: number % 5]
        assert crawl.crawl.revive(*ids, b"no such.") == len(ids)
        crawl.dead -= set(ids)
        crawl.waiting |= set(ids)

    @rule(which=some, state=st.sampled_from(["running", "paused", "cancelled"]))
    def set_state(self, which: int, state: str) -> None:
        crawl = self.crawls[which % len(self.crawls)]
        crawl.state = state if crawl.state == "running" else "running"
        crawl.crawl.set(state=crawl.state)

    # --- Workers die, or seem to

    @precondition(lambda self: len(self.ghosts) < 2)
    @rule(which=some)
    def lose_a_worker(self, which: int) -> None:
        holders = [member for member in self.members if member.held] or self.members
        member = holders[which % len(holders)]
        for other in self.members:
            other.worker.renew()
        assert self.shard.reap() == (0, 0)
        assert self.shard.lose(member.worker) == (1, len(member.held))
        for held in member.held:
            member.crawl.fails(held.lease.id, "worker lost", MOST_LOSSES)
        self.members.remove(member)
        self.ghosts.append(member)
        self.join(member.crawl)
        self.lease(-1, 20, per_domain=4, is_answered=True)

    @precondition(lambda self: self.ghosts)
    @rule(which=some, number=some, end=st.sampled_from([settle, retry, release]))
    def a_ghost_settles_nothing(self, which: int, number: int, end: Any) -> None:
        ghost = self.ghosts[which % len(self.ghosts)]
        assert ghost.worker.renew() == -1
        assert ghost.worker.lease() == []
        if ghost.held:
            lease = ghost.held[number % len(ghost.held)].lease
            assert ghost.worker.settle(began(lease), ended(lease, verdict=1), end(lease)) == (1, [])

    @precondition(lambda self: self.ghosts)
    @rule(which=some)
    def a_ghost_comes_back_and_holds_nothing(self, which: int) -> None:
        ghost = self.ghosts.pop(which % len(self.ghosts))
        ghost.worker.register()
        assert ghost.worker.reconcile(*(held.lease for held in ghost.held)) == [held.lease.id for held in ghost.held]
        assert ghost.enqueue_again()
        ghost.held = []
        self.members.append(ghost)

    # --- What must be so

    @invariant()
    def everything_adds_up(self) -> None:
        state = self.shard.check()
        for crawl in self.crawls:
            part = state.crawls[crawl.crawl.root.removeprefix(f"{self.shard.root}:")]
            self.notice_what_was_taken_off(crawl, part)
            assert part.queued.keys() | part.delayed.keys() == crawl.waiting
            assert part.dead.keys() == crawl.dead
            held = {held.lease.id: m.worker.name for m in self.members if m.crawl is crawl for held in m.held}
            assert part.holders == held
            for name in ("seeded", "discovered"):
                assert part.counts.get(name, 0) == crawl.counted[name]
            for name in OUTCOMES[:-1]:
                assert part.counts.get(name, 0) == crawl.outcomes[name], name
        for member in self.members:
            busy = {held.lease.id for held in member.held if not held.ended}
            assert state.busy.get(member.worker.name, set()) == busy
            self.planned_starts_keep_their_distance(member)
        self.domains_are_as_polite_as_they_should_be(state.domains)

    def planned_starts_keep_their_distance(self, member: Member) -> None:
        for name in DOMAINS:
            planned = [held.lease for held in member.held if held.is_planned and held.lease.domain == name]
            for one, next_one in pairwise(sorted(planned, key=lambda lease: lease.start)):
                assert next_one.start - one.start >= CLOSEST * min(one.delay, next_one.delay)

    def domains_are_as_polite_as_they_should_be(self, domains: dict[str, dict[bytes, bytes]]) -> None:
        for name, fields in domains.items():
            assert int(fields.get(b"f", 0)) <= DOMAINS[name]["c"]
            owners = {m.worker.name: 0 for m in self.members for h in m.held if h.is_planned and h.lease.domain == name}
            for member in self.members:
                planned = sum(held.is_planned and held.lease.domain == name for held in member.held)
                if planned:
                    owners[member.worker.name] = planned
            told = {fields[b"o"].decode(): int(fields[b"u"])} if b"o" in fields else {}
            assert told == owners

    def teardown(self) -> None:
        """Whatever happened: once workers work and domains are well, every request comes to its end."""
        try:
            if sys.exc_info()[0] is None:
                self.finish()
        finally:
            self.shard.forget()

    def finish(self) -> None:
        for crawl in self.crawls:
            crawl.state = "running"
            crawl.crawl.set(state="running")
        while self.something_is_held():
            self.give_back(0, PAGES)
        self.members = [self.join(crawl) for crawl in self.crawls]
        rounds = 0
        while any(crawl.waiting for crawl in self.crawls):
            rounds += 1
            assert rounds < 500, "requests wait for ever"
            self.shard.advance(2000)
            for number, member in enumerate(self.members):
                self.lease(number, 20, 8, is_answered=True)
                self.work_off(member, list(member.held))
            self.everything_adds_up()


def test_nothing_is_lost_leased_twice_or_forgotten_and_everything_adds_up(redis_server: RedisServer) -> None:
    FrontierMachine.client = redis_server.client()
    profile = PROFILES[os.environ.get("SEINE_HYPOTHESIS", "quick")]
    run_state_machine_as_test(FrontierMachine, settings=profile)

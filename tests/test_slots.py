"""The slots of exactly once, as lua/slot_*.lua keep them: claims, prepared batches, and what a ledger decides."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgpack
import pytest
from redis.exceptions import ResponseError

from crawlers.changes import notes
from pipelines.exactly_once.slots import Slots
from tests.frontier_crawl import servers
from tests.frontier_shard import LIVES, MOST_LOSSES, Leased, Shard, Worker, page, pages, settle
from tests.servers.redis import RedisServer
from tests.test_frontier_settling import scene

NUMBERS = range(3)
SLOTS = "0 1 2"
KEPT = 60
TOPIC, SITE = "products:xyz", "shop"


class Claimant:
    """A worker's machine, as far as Redis sees it."""

    def __init__(self, worker: Worker, *, synced: bool = True):
        self.worker = worker
        self.shard = worker.shard
        self.claim = secrets.token_hex(4)
        self.slot = -1
        if synced:
            self.take()
            for slot in NUMBERS:
                self.shard.client.hset(f"{self.shard.root}:synced", slot, self.run_id)

    @property
    def run_id(self) -> str:
        told = self.shard.client.info("server") | self.shard.client.info("replication")
        return f"{told['run_id']}{told['master_replid']}"

    def take(self, *, only_left: bool = False) -> int:
        self.slot = self._run("slot_claim", self.claim, LIVES, SLOTS, int(only_left))
        return self.slot

    def look(self) -> list[Any]:
        return self._run("slot_look", self.slot, self.claim, LIVES)

    def prepare(
        self,
        token: str,
        *leases: Leased,
        outcome: str = "delivered",
        reason: str = "",
        told: dict[bytes, list[Any]] | None = None,
    ) -> tuple[Any, ...]:
        """(what, ids prepared, ids repeated); `told` are the notes of leases by id."""
        requests = [(lease.id, lease.token, outcome, reason, 0, (told or {}).get(lease.id, [])) for lease in leases]
        packed = msgpack.packb(requests, use_bin_type=False)
        reply = self._run("slot_prepare", self.slot, self.claim, LIVES, SLOTS, self.worker.name, token, packed)
        what, ids, repeated = msgpack.unpackb(reply, raw=True)
        return what.decode(), set(ids), set(repeated)

    def settle(self, token: str, offset: int | str = "") -> str:
        return self._run("slot_settle", self.slot, self.claim, token, offset, LIVES, KEPT).decode()

    def resolve(
        self,
        *entries: tuple[str, list[Leased]],
        end_of: tuple[str, str, int] = ("delivered", "", 0),
        new: str = "",
        end: int = 7,
        run_id: str = "",
        last: bool = True,
        token: str = "",
    ) -> Any:
        """(what, ids kept); an entry of the ledger is a token and leases with the same end."""
        root = self.worker.crawl.root
        packed = msgpack.packb(
            [(token, root, [(lease.id, *end_of) for lease in leases]) for token, leases in entries],
            use_bin_type=False,
        )
        here = run_id or self.run_id
        given = (here, end, new, KEPT, MOST_LOSSES, packed, LIVES, int(last), token)
        reply = self._run("slot_resolve", self.slot, self.claim, *given)
        what, ids = msgpack.unpackb(reply, raw=True)
        return what.decode(), set(ids)

    def leave(self) -> int:
        return self._run("slot_leave", self.slot, self.claim)

    def _run(self, script: str, *arguments: Any) -> Any:
        return self.shard.run(script, self.worker.crawl.root, *arguments)


@pytest.fixture
def shard(redis_server: RedisServer) -> Iterator[Shard]:
    with redis_server.client() as client:
        shard = Shard(client)
        yield shard
        shard.check()
        shard.forget()


@pytest.fixture
def worker(shard: Shard) -> Worker:
    return shard.worker()


@pytest.fixture
def claimant(worker: Worker) -> Claimant:
    return Claimant(worker)


def ids(*leases: Leased) -> set[bytes]:
    return {lease.id for lease in leases}


def leased(worker: Worker, *numbers: int) -> list[Leased]:
    worker.enqueue(*(page(number, f"{number}.example") for number in numbers))
    return sorted(worker.lease(), key=lambda lease: lease.data)


def test_a_slot_has_one_claimant_until_its_claim_expires(shard: Shard, claimant: Claimant) -> None:
    others = [Claimant(shard.worker(), synced=False) for _ in range(3)]
    taken = {claimant.slot, others[0].take(), others[1].take()}
    assert taken == {0, 1, 2}
    assert others[2].take() == -1
    assert claimant.take() == claimant.slot, "its own, again"
    shard.advance(LIVES - 1)
    claimant.look()
    shard.advance(1)
    assert others[2].take() in taken - {claimant.slot}


def test_a_slot_that_was_left_in_the_middle_is_claimed_first(shard: Shard, claimant: Claimant, worker: Worker) -> None:
    claimant.prepare("a", *leased(worker, 1))
    shard.advance(LIVES)
    assert Claimant(shard.worker(), synced=False).take() == claimant.slot
    assert Claimant(shard.worker(), synced=False).take(only_left=True) == -1, "the others are at rest"


def test_a_claimant_that_leaves_makes_room_at_once(shard: Shard, claimant: Claimant) -> None:
    assert claimant.leave() == 1
    assert claimant.look() == []
    assert Claimant(shard.worker(), synced=False).take() == claimant.slot
    assert claimant.leave() == 0


def test_a_committed_batch_gives_its_requests_their_outcomes_once(
    shard: Shard, claimant: Claimant, worker: Worker
) -> None:
    one, two = leased(worker, 1, 2)
    assert claimant.prepare("a", one, two) == ("ok", ids(one, two), set())
    assert shard.check().prepared() == {f"slot {claimant.slot}": ids(one, two)}
    assert claimant.settle("a", 5) == "ok"
    assert claimant.settle("a", 5) == "ok"
    assert worker.crawl.counts == {"discovered": 2, "delivered": 2}
    assert claimant.look()[:2] == [b"", 5]
    assert worker.crawl.outcome(one.id) == f"D{shard.now // 1000}|1|"


def test_a_dead_outcome_is_kept_with_its_reasons(claimant: Claimant, worker: Worker) -> None:
    [one] = leased(worker, 1)
    claimant.prepare("a", one, outcome="dead", reason="item")
    claimant.settle("a")
    assert worker.crawl.counts == {"discovered": 1, "dead": 1, "dead:item": 1}
    assert worker.crawl.dead == {b"page 1": ["item"]}


def test_only_leases_that_are_still_the_workers_are_prepared(shard: Shard, claimant: Claimant, worker: Worker) -> None:
    one, two = leased(worker, 1, 2)
    worker.settle(settle(one))
    other = shard.worker()
    [three] = leased(other, 3)
    assert claimant.prepare("a", one, two, three) == ("ok", ids(two), set())


def test_the_death_of_its_worker_returns_nothing_that_is_prepared(
    shard: Shard, claimant: Claimant, worker: Worker
) -> None:
    one, _ = leased(worker, 1, 2)
    claimant.prepare("a", one)
    assert shard.lose(worker) == (1, 1)
    assert claimant.settle("a") == "ok"
    assert worker.crawl.counts == {"discovered": 2, "delivered": 1, "pending": 1, "lost": 1}


def test_a_batch_may_be_prepared_again_until_it_is_committed_and_no_other_beside_it(
    claimant: Claimant, worker: Worker
) -> None:
    one, two = leased(worker, 1, 2)
    claimant.prepare("a", one)
    assert claimant.prepare("b", two)[0] == "busy"
    assert claimant.prepare("a", one, outcome="dead", reason="item")[0] == "ok"
    claimant.settle("a")
    assert worker.crawl.counts["dead"] == 1
    assert claimant.settle("b") == "unknown"


def test_whoever_lost_its_claim_prepares_settles_and_resolves_nothing(
    shard: Shard, claimant: Claimant, worker: Worker
) -> None:
    [one] = leased(worker, 1)
    claimant.prepare("a", one)
    shard.advance(LIVES)
    Claimant(shard.worker(), synced=False).take()
    before = shard.dump()
    assert claimant.prepare("a", one)[0] == "lost"
    assert claimant.settle("a") == "lost"
    assert claimant.resolve(("a", [one]))[0] == "lost"
    assert claimant.look() == []
    assert shard.dump() == before


def test_nothing_is_leased_or_prepared_until_every_slot_is_compared_with_its_ledger(
    shard: Shard, claimant: Claimant, worker: Worker
) -> None:
    [one] = leased(worker, 1)
    worker.enqueue(page(2))
    shard.client.hset(f"{shard.root}:synced", claimant.slot, "another run")
    assert claimant.prepare("a", one)[0] == "resync"
    assert claimant.resolve() == ("none", set())
    another = (claimant.slot + 1) % len(NUMBERS)
    shard.client.hset(f"{shard.root}:synced", another, "another run")
    assert claimant.prepare("a", one)[0] == "wait"
    assert worker.lease(slots=SLOTS) == []
    shard.client.hset(f"{shard.root}:synced", another, claimant.run_id)
    assert len(worker.lease(slots=SLOTS)) == 1
    assert claimant.prepare("a", one)[0] == "ok"


def test_a_prepared_batch_that_the_ledger_has_is_settled(shard: Shard, claimant: Claimant, worker: Worker) -> None:
    [one] = leased(worker, 1)
    claimant.prepare("a", one)
    shard.advance(LIVES)
    heir = Claimant(shard.worker(), synced=False)
    heir.take()
    assert heir.resolve(("a", [one])) == ("settled", set())
    assert worker.crawl.counts == {"discovered": 1, "delivered": 1}
    assert heir.look()[:2] == [b"", 7]


def test_a_prepared_batch_that_the_ledger_has_not_returns_as_lost_with_its_worker(
    shard: Shard, claimant: Claimant, worker: Worker
) -> None:
    [one] = leased(worker, 1)
    claimant.prepare("a", one)
    shard.advance(LIVES)
    heir = Claimant(shard.worker(), synced=False)
    heir.take()
    assert heir.resolve() == ("released", set())
    assert worker.crawl.counts == {"discovered": 1, "pending": 1, "lost": 1}
    assert shard.check().prepared() == {}


def test_its_own_batch_is_kept_under_a_new_token(claimant: Claimant, worker: Worker) -> None:
    one, two = leased(worker, 1, 2)
    claimant.prepare("a", one, two)
    assert claimant.resolve(new="b") == ("kept", ids(one, two))
    assert claimant.settle("a") == "unknown"
    assert claimant.settle("b") == "ok"
    assert worker.crawl.counts["delivered"] == 2


def test_what_the_ledger_tells_beyond_the_batch_is_never_produced_again(claimant: Claimant, worker: Worker) -> None:
    """Redis has gone back to before those transactions."""
    one, two, three = leased(worker, 1, 2, 3)
    assert claimant.resolve(("x", [one]), ("y", [two])) == ("none", set())
    assert claimant.prepare("a", one, two, three) == ("ok", ids(three), ids(one, two))
    claimant.settle("a")
    worker.settle(settle(one), settle(two))
    assert worker.crawl.counts == {"discovered": 3, "delivered": 3}


def test_of_a_prepared_batch_what_another_transaction_delivered_is_settled(claimant: Claimant, worker: Worker) -> None:
    one, two = leased(worker, 1, 2)
    claimant.prepare("a", one, two)
    assert claimant.resolve(("x", [one]), new="b") == ("kept", ids(two))
    assert worker.crawl.counts == {"discovered": 2, "delivered": 1}


def test_a_redis_that_restarts_while_the_ledger_is_read_is_asked_again(
    shard: Shard, claimant: Claimant, worker: Worker
) -> None:
    claimant.prepare("a", *leased(worker, 1))
    before = shard.dump()
    assert claimant.resolve(run_id="earlier run") == ("again", set())
    assert shard.dump() == before


def test_a_full_redis_still_prepares_and_settles(shard: Shard, claimant: Claimant, worker: Worker) -> None:
    [one] = leased(worker, 1)
    shard.client.config_set("maxmemory", 1)
    try:
        assert claimant.prepare("a", one)[0] == "ok"
        assert claimant.settle("a") == "ok"
    finally:
        shard.client.config_set("maxmemory", 0)


def test_leases_that_are_done_with_wait_for_their_transaction(shard: Shard, worker: Worker) -> None:
    [one] = worker.enqueue(*pages(1)) and worker.lease()
    assert worker.settle(("done", one.id, one.token, 1)) == (0, [])
    assert worker.settle(("done", one.id, b"another", 1)) == (1, [])
    assert shard.check().crawls["spider:crawl"].leased


def test_a_long_ledger_is_resolved_page_by_page_and_the_batch_with_the_last(
    shard: Shard, claimant: Claimant, worker: Worker
) -> None:
    one, two, three = leased(worker, 1, 2, 3)
    claimant.prepare("a", one)
    shard.client.hset(f"{shard.root}:synced", claimant.slot, "another run")
    assert claimant.resolve(("x", [two]), last=False, end=3) == ("more", set())
    assert claimant.look()[:2] == [b"a", 3]
    assert claimant.resolve(("a", [one]), end=4, token="a") == ("settled", set())
    assert claimant.prepare("b", two, three) == ("ok", ids(three), ids(two))


def test_a_batch_whose_settlement_was_not_answered_is_known_to_be_settled(claimant: Claimant, worker: Worker) -> None:
    claimant.prepare("a", *leased(worker, 1))
    claimant.settle("a", 7)
    assert claimant.resolve(token="a") == ("past", set())
    assert claimant.resolve(token="b") == ("none", set())


def test_a_request_that_is_fetched_again_ends_as_the_ledger_says(claimant: Claimant, worker: Worker) -> None:
    one, two, three = leased(worker, 1, 2, 3)
    claimant.prepare("a", three)
    claimant.resolve(("x", [one]), ("y", [three]), end_of=("dead", "item", 2), new="b", token="a")
    claimant.resolve(("z", [two]))
    assert claimant.prepare("c", one, two) == ("ok", set(), ids(one, two))
    worker.settle(settle(one), settle(two, "dead", "item", letters=1))
    assert worker.crawl.counts == {"discovered": 3, "dead": 2, "dead:item": 2, "delivered": 1}
    rows = worker.shard.client.hgetall(f"{worker.crawl.root}:dead")
    assert {msgpack.unpackb(row, raw=True)[6] for row in rows.values()} == {2}, "Kafka has their letters"


def test_a_request_whose_page_cannot_be_read_again_is_dead_and_its_letter_is_written(
    claimant: Claimant, worker: Worker
) -> None:
    worker.crawl.letters("expect")
    [one] = leased(worker, 1)
    claimant.resolve(("x", [one]))
    claimant.prepare("a", one, outcome="dead", reason="http 404")
    worker.settle(settle(one, "dead", "http 404", letters=1))
    assert worker.crawl.counts == {"discovered": 1, "dead": 1, "dead:http 404": 1}
    assert [row[0] for row in worker.crawl.letters("claim", 10, 1000)] == [one.id]


def test_what_a_second_fetch_shows_of_a_product_is_not_remembered(claimant: Claimant, worker: Worker) -> None:
    [one] = leased(worker, 1)
    claimant.prepare("a", one, told={one.id: [seen("sku")]})
    assert claimant.resolve(("x", [one]), new="b", token="a") == ("released", set())
    assert worker.crawl.counts == {"discovered": 1, "delivered": 1}
    assert not [name for name in worker.shard.dump() if "products:" in name]


def test_a_request_that_is_settled_may_be_delivered_again_when_it_is_requeued(
    claimant: Claimant, worker: Worker
) -> None:
    [one] = leased(worker, 1)
    claimant.resolve(("x", [one]))
    worker.settle(settle(one, "dead", "http 500"))
    worker.crawl.revive(one.id)
    [again] = worker.lease()
    assert claimant.prepare("a", again) == ("ok", ids(again), set())
    claimant.settle("a")


def test_what_is_prepared_can_be_settled_by_its_slot_alone(claimant: Claimant, worker: Worker) -> None:
    [one] = leased(worker, 1)
    claimant.prepare("a", one)
    assert worker.settle(settle(one)) == (1, [])
    assert claimant.settle("a") == "ok"
    assert worker.crawl.counts == {"discovered": 1, "delivered": 1, "stale": 1}


def seen(identity: str) -> notes.Note:
    return notes.seen(TOPIC, SITE, identity, 7, bytes(30), 0)


def recall(shard: Shard, *identities: str) -> list[bool]:
    """Whether each of them is remembered."""
    asked = [(TOPIC, SITE, notes.product_key(identity)) for identity in identities]
    found = shard.run("recall", shard.root, msgpack.packb(asked, use_bin_type=False))
    return [value is not None for [value] in found]


def test_notes_are_written_when_their_transaction_is_settled(shard: Shard, claimant: Claimant, worker: Worker) -> None:
    one, two = leased(worker, 1, 2)
    told = {one.id: [seen("one")], two.id: [seen("two"), notes.vouched(TOPIC, SITE, b"three")]}
    claimant.prepare("a", one, two, outcome="dead", reason="item", told=told)
    assert recall(shard, "one", "two") == [False, False]
    assert claimant.settle("a") == "ok"
    assert recall(shard, "one", "two", "three") == [True, True, False]


def test_notes_are_written_by_whoever_finds_their_transaction_in_the_ledger(
    shard: Shard, claimant: Claimant, worker: Worker
) -> None:
    [one] = leased(worker, 1)
    claimant.prepare("a", one, told={one.id: [seen("one")]})
    shard.client.hset(f"{shard.root}:slot:{claimant.slot}", "until", 0)
    other = Claimant(shard.worker(), synced=False)
    assert other.take(only_left=True) == claimant.slot
    assert other.resolve(("a", [one])) == ("settled", set())
    assert recall(shard, "one") == [True]


def test_notes_of_a_transaction_that_was_not_committed_wait_for_the_next(
    shard: Shard, claimant: Claimant, worker: Worker
) -> None:
    one, two = leased(worker, 1, 2)
    claimant.prepare("a", one, two, told={one.id: [seen("one")], two.id: [seen("two")]})
    assert claimant.resolve(new="b", token="a") == ("kept", ids(one, two))
    assert recall(shard, "one") == [False]
    claimant.prepare("b", one, told={one.id: [seen("one")]})
    claimant.settle("b")
    assert recall(shard, "one", "two") == [True, False]
    claimant.prepare("c", two, told={two.id: [seen("two")]})
    assert claimant.resolve() == ("released", set())
    assert recall(shard, "two") == [False]


def test_notes_that_are_none_are_refused_before_a_batch_is_prepared(
    shard: Shard, claimant: Claimant, worker: Worker
) -> None:
    one, two = leased(worker, 1, 2)
    before = shard.dump()
    with pytest.raises(ResponseError, match="POISON 2"):
        claimant.prepare("a", one, two, told={one.id: [seen("one")], two.id: [seen("x" * 15_301)]})
    assert shard.dump() == before


def test_a_batch_is_prepared_without_the_notes_that_redis_refuses(redis_server: RedisServer) -> None:
    async def story() -> None:
        async with scene(redis_server) as now:
            now.frontier.options = replace(now.frontier.options, slots=1)
            slots = Slots(servers(REDIS_URL=redis_server.url), now.frontier, 0)
            assert await slots.claim("me") == 0
            held = await slots.look(0, "me")
            assert held is not None
            await slots.resolve(0, "me", held, ([], 0, True), "", "")
            told = [[seen("x" * 15_301)], [seen("y" * 15_301), seen("y")]]
            requests = [(now.lease.id, now.lease.token, "delivered", "", 0, one) for one in told]
            answer = await slots.prepare(0, "me", "a", requests)
            assert (answer.what, answer.ids) == ("ok", {now.lease.id})
            await slots.close()

    asyncio.run(story())

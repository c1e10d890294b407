"""What scripts count of a crawl's sites: with a settlement, once, and not without it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgpack
import pytest
from redis.exceptions import ResponseError

from crawlers.bans.signatures import KINDS
from crawlers.changes.notes import Note, without
from crawlers.frontier.connection import Servers
from crawlers.frontier.control import Control
from crawlers.frontier.crawls import Definition
from crawlers.frontier.keys import Keys
from crawlers.monitors import store
from crawlers.monitors.counting import note_of
from crawlers.monitors.tally import MOST_SAMPLED, Tally
from pipelines.exactly_once.batch import Ended
from tests.frontier_shard import MOST_ATTEMPTS, Leased, Shard, Worker, page, retry, settle
from tests.products import product
from tests.servers.redis import RedisServer

UNREAD: Note = ("unread", "", "shop")


@pytest.fixture
def shard(redis_server: RedisServer) -> Iterator[Shard]:
    shard = Shard(redis_server.client())
    yield shard
    shard.forget()


def counted(identity: str, **changes: Any) -> Note:
    found = note_of(product(identity=identity, **changes))
    assert found is not None
    return found


def leased(shard: Shard, number: int = 0) -> tuple[Worker, Leased]:
    worker = shard.worker()
    worker.enqueue(page(number))
    [lease] = worker.lease(1)
    return worker, lease


def with_notes(lease: Leased, *notes: Note) -> tuple[Any, ...]:
    return (*settle(lease), notes)


def tally_of(shard: Shard, worker: Worker) -> Tally:
    root, tally = f"{worker.crawl.root}:site:shop", Tally()
    tally.merge(shard.client.hgetall(f"{root}:counts"))
    tally.sample(shard.client.zrange(f"{root}:sample", 0, -1))
    return tally


def requests_of(shard: Shard, worker: Worker) -> dict[str, int]:
    found = shard.client.hgetall(f"{worker.crawl.root}:budgets:counts")
    return {name.decode().partition(" ")[2]: int(n) for name, n in found.items() if int(n)}


def test_scripts_and_a_worker_count_alike(shard: Shard) -> None:
    notes = [counted(f"sku-{n}", price=Decimal(n % 7), brand="B" if n % 3 else None) for n in range(MOST_SAMPLED + 99)]
    notes += [UNREAD] * 3
    worker, lease = leased(shard)
    worker.settle(with_notes(lease, *notes))
    found, own = tally_of(shard, worker), Tally()
    for note in notes:
        own.add(note)
    assert (found.masks, found.unread, found.prices) == (own.masks, own.unread, own.prices)
    assert shard.client.zcard(f"{worker.crawl.root}:site:shop:sample") == MOST_SAMPLED
    assert found.products == len(notes)
    assert requests_of(shard, worker) == {"ended": 1}


def test_a_batch_that_is_sent_again_counts_once(shard: Shard) -> None:
    worker, lease = leased(shard)
    worker.settle(with_notes(lease, counted("sku-1")))
    worker.settle_again(with_notes(lease, counted("sku-1")))
    assert tally_of(shard, worker).products == 1


def test_a_settlement_of_a_lease_that_is_somebody_elses_counts_nothing(shard: Shard) -> None:
    worker, lease = leased(shard)
    shard.lose(worker)
    worker.settle(with_notes(lease, counted("sku-1")))
    assert (tally_of(shard, worker).products, requests_of(shard, worker)) == (0, {})


@pytest.mark.parametrize(
    "note",
    [
        ("counted", "", "shop", b"sku-1", -1, b""),
        ("counted", "", "shop", b"sku-1", 65536, b""),
        ("counted", "", "shop", b"", 1, b""),
        ("counted", "", "shop", b"sku-1", 1, b"x" * 65),
        ("counted", "", "shop", b"sku-1", 1, b"x" * 8),
        ("counted", "", "shop"),
        ("unread", "", 7),
    ],
)
def test_notes_that_are_none_are_refused_before_anything_is_written(shard: Shard, note: Note) -> None:
    worker, lease = leased(shard)
    before = shard.dump()
    with pytest.raises(ResponseError, match="POISON"):
        worker.settle(with_notes(lease, note))
    assert shard.dump() == before


@pytest.mark.parametrize(
    ("reason", "counted_as"), [("timeout", "dead"), ("item", "dead"), ("http 404", "missing"), ("http 410", "missing")]
)
def test_the_dead_are_counted_and_no_longer_when_they_are_sent_back(shard: Shard, reason: str, counted_as: str) -> None:
    worker, lease = leased(shard)
    worker.settle(settle(lease, "dead", reason))
    assert requests_of(shard, worker) == {counted_as: 1}
    worker.crawl.revive(lease.id)
    assert requests_of(shard, worker) == {}


def test_requests_that_nobody_settled_are_counted_when_they_die(shard: Shard) -> None:
    worker, _ = leased(shard)
    for _ in range(MOST_ATTEMPTS):
        shard.lose(worker)
        worker.register()
        if not worker.lease(1):
            break
    shard.lose(worker)
    assert requests_of(shard, worker) == {"dead": 1}


@pytest.mark.parametrize("kind", KINDS)
def test_walls_are_counted_by_attempt(shard: Shard, kind: str) -> None:
    worker, lease = leased(shard)
    worker.settle(retry(lease, reason=kind))
    [again] = worker.lease(1)
    worker.settle(settle(again))
    assert requests_of(shard, worker) == {"walls": 1, "ended": 1}


def test_notes_without_a_crawl_count_nothing(shard: Shard) -> None:
    notes = msgpack.packb([counted("sku-1")], use_bin_type=False)
    before = set(shard.client.scan_iter("*"))
    assert shard.run("note", shard.root, notes) == 1
    assert set(shard.client.scan_iter("*")) == before


def test_a_product_whose_record_is_refused_is_not_counted_and_one_that_kafka_has_is() -> None:
    notes = [counted("sku-1"), counted("sku-2"), UNREAD]
    assert without(notes, product(identity="sku-1")) == notes[1:]
    ended: Any = Ended(None, "delivered", "", [], 0, notes)  # type: ignore[arg-type]
    ended.keep_nothing()
    assert ended.notes == notes


def test_a_crawl_is_judged_once_by_whoever_has_the_claim(redis_server: RedisServer) -> None:
    async def story() -> None:
        servers = Servers({"protocol": 2, "socket_timeout": 5}, redis_server.url, "", "", cluster=False)
        control = Control(servers, Keys("test-judge", "spider"))
        crawls = await control.open()
        name, _ = await crawls.open(Definition(("shop",)))
        await crawls.seeding(name, "w", "claim", 1000)
        await crawls.seeding(name, "w", "done")
        assert await crawls.judge(name, "one", "claim", 9000, 5) == [b"done"]
        assert await crawls.complete(name, 60, is_judged=True)

        assert await crawls.judge(name, "one", "claim", 9000, 5) == [b"yours"]
        what, left = await crawls.judge(name, "two", "claim", 9000, 5)
        assert (what, 0 < left <= 9000) == (b"busy", True)
        record = ("record", "shop", b"{}", b"\x90", 2, 60)
        assert await crawls.judge(name, "two", *record) == b"lost"
        assert await crawls.judge(name, "one", *record) == b"recorded"
        assert await crawls.judge(name, "one", *record) == b"known"
        assert (await store.read_known(crawls, name, "shop")).stage == "judged"

        await crawls.judge(name, "one", "claim", 0, 5)  # it is over at once
        assert await crawls.judge(name, "two", "claim", 9000, 5) == [b"yours"]
        assert await crawls.judge(name, "one", "told", "shop") == b"lost"
        assert await crawls.judge(name, "two", *record) == b"known"
        assert await crawls.judge(name, "two", "told", "shop") == b"ok"
        assert (await store.read_known(crawls, name, "shop")).stage == "told"
        assert await crawls.judge(name, "two", "done", 60) == b"ok"
        assert await crawls.judge(name, "one", "claim", 9000, 5) == [b"done"]

        await crawls.reopen(name)
        assert await crawls.complete(name, 60, is_judged=True)
        assert await crawls.judge(name, "one", "claim", 9000, 5) == [b"done"]
        await control.close()

    asyncio.run(story())


def test_a_judgement_that_kills_its_workers_is_given_up(redis_server: RedisServer) -> None:
    async def story() -> None:
        servers = Servers({"protocol": 2, "socket_timeout": 5}, redis_server.url, "", "", cluster=False)
        control = Control(servers, Keys("test-tries", "spider"))
        crawls = await control.open()
        name, _ = await crawls.open(Definition(("shop",)))
        await crawls.seeding(name, "w", "claim", 1000)
        await crawls.seeding(name, "w", "done")
        await crawls.complete(name, 60, is_judged=True)
        claims = [await crawls.judge(name, str(worker), "claim", 0, 5) for worker in range(6)]
        assert claims == [[b"yours"]] * 5 + [[b"done"]]
        await control.close()

    asyncio.run(story())

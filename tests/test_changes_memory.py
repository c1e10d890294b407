"""What Redis remembers of products: small, written with a lease's settlement or not at all, whole after splits."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import msgpack
import pytest
from scrapy.http import Headers

from crawlers.changes import notes
from crawlers.changes.fingerprints import FIELDS, differing, fingerprints
from crawlers.changes.gone import GoneProducts
from crawlers.changes.memory import ProductMemory
from crawlers.changes.notes import Remembered
from crawlers.changes.pages import LONGEST, Page, validators
from crawlers.changes.topic import Topic
from crawlers.frontier.keys import Keys
from crawlers.frontier.scripts import run
from crawlers.items import LONGEST_IDENTITY
from tests.frontier_crawl import servers
from tests.frontier_shard import Shard, Worker, page, release
from tests.polling import eventually
from tests.products import product
from tests.servers.redis import RedisServer
from tests.test_frontier_settling import scene

TOPIC, SITE = "products:xyz", "shop"
PRINTS = bytes(range(2 * len(FIELDS)))
URL = "https://shop.example/a/rather/long/path/to/a/product-that-is-keyed-by-its-address-{}.html"


@pytest.fixture
def shard(redis_server: RedisServer) -> Iterator[Shard]:
    shard = Shard(redis_server.client())
    yield shard
    shard.forget()


def lease(shard: Shard) -> tuple[Worker, bytes, bytes]:
    """(a worker, the id and the token of a lease that it holds)"""
    worker = shard.worker()
    worker.enqueue(page(shard.now))
    [one] = worker.lease(1)
    shard.advance(1)
    return worker, one.id, one.token


def write(shard: Shard, *told: notes.Note) -> None:
    """Settle a request with those notes."""
    worker, id_, token = lease(shard)
    assert worker.settle(("settle", id_, token, 1, "delivered", "", 0, told))[0] == 0


def recall(shard: Shard, *identities: str) -> list[bytes | None]:
    asked = [(TOPIC, SITE, notes.product_key(identity)) for identity in identities]
    return [value for [value] in shard.run("recall", shard.root, msgpack.packb(asked, use_bin_type=False))]


def seen(identity: str, hour: int = 7, prints: bytes = PRINTS, life: int = 0) -> notes.Note:
    return notes.seen(TOPIC, SITE, identity, hour, prints, life)


def test_a_product_is_remembered_once_its_request_is_settled(shard: Shard) -> None:
    write(shard, seen("sku-1"))
    assert recall(shard, "sku-1", "sku-2") == [notes._HEAD.pack(0, 7) + PRINTS, None]


def test_notes_of_a_lease_that_is_somebody_elses_are_not_written(shard: Shard) -> None:
    worker, id_, token = lease(shard)
    shard.lose(worker)
    stale, _ = worker.settle(("settle", id_, token, 1, "delivered", "", 0, [seen("sku-1")]))
    assert (stale, recall(shard, "sku-1")) == (1, [None])


def test_notes_that_are_none_are_refused_before_anything_is_written(shard: Shard) -> None:
    worker, id_, token = lease(shard)
    before = shard.dump()
    what, *scope, key, prints, text, life = seen("sku-1")
    bad_seen = [
        (key, prints, text, -1),
        (key, prints, text, "long"),
        (key, prints, "x" * 15_301, life),
        (key, b"x" * 63, text, life),
        (b"", prints, text, life),
        (key, prints),
    ]
    bad_others = [
        ("unheard of", *scope, b"k", b"v"),
        ("gone", *scope, b"k", b"x" * 65),
        ("page", *scope, b"12345678", b"short"),
        ("skipped", *scope, b"1234567", 0, 0),
        ("skipped", *scope, b"12345678", 2**32, 0),
        ("vouched", TOPIC, 7, b"k"),
    ]
    several = [[(what, *scope, *one)] for one in bad_seen] + [[one] for one in bad_others]
    for bad in (["seen"], "text", *several, [seen("sku-2"), bad_others[0]]):
        with pytest.raises(Exception, match="POISON 1"):
            worker.settle(("settle", id_, token, 1, "delivered", "", 0, bad))
    assert shard.dump() == before


@pytest.mark.parametrize("identity", ["sku-{}", URL, "\x01odd-{}"])
def test_every_product_is_found_after_the_tree_has_grown(shard: Shard, identity: str) -> None:
    identities = [identity.format(n) for n in range(3000)]
    for first in range(0, len(identities), 200):
        write(shard, *(seen(one, hour=n % 1000) for n, one in enumerate(identities[first : first + 200], first)))
    found = recall(shard, *identities)
    assert [Remembered.read(value).hour for value in found if value] == [n % 1000 for n in range(3000)]
    assert shard.client.getbit(f"{shard.root}:products:{TOPIC}:{SITE}:split", 1)
    assert sorted(all_missing(shard, pass_=5)) == sorted(identities)


def all_missing(shard: Shard, pass_: int, enough: int = 1) -> Iterator[str]:
    """The identities of products that were not seen in that many passes."""
    nodes = [1]
    while nodes:
        node = nodes.pop()
        split, _, _, *rows = shard.run("missing", shard.root, TOPIC, SITE, node, pass_, enough)
        nodes += [2 * node, 2 * node + 1] if split else []
        yield from (identity.decode() for identity in rows[2::3])


def test_a_product_is_missing_after_as_many_passes_as_were_asked_for(shard: Shard) -> None:
    write(shard, seen("old"), seen("new"))
    for crawl in ("one", "two", "two"):
        shard.run("passed", shard.crawl(crawl).root, TOPIC, SITE, 0)
    write(shard, seen("new"))
    assert list(all_missing(shard, pass_=2, enough=3)) == []
    assert list(all_missing(shard, pass_=2, enough=2)) == ["old"]


def test_a_product_that_was_seen_since_is_not_forgotten(shard: Shard) -> None:
    for identity in ("sku-1", URL):
        write(shard, seen(identity))
        [before] = recall(shard, identity)
        assert before
        write(shard, seen(identity, hour=8))
        write(shard, notes.gone(TOPIC, SITE, identity, before))
        [now] = recall(shard, identity)
        assert now
        write(shard, notes.gone(TOPIC, SITE, identity, now))
        assert recall(shard, identity) == [None]
    assert not [key for key in shard.dump() if key.startswith(f"products:{TOPIC}:{SITE}:1")], "parts are left"


def test_what_is_remembered_goes_when_the_topics_records_do(shard: Shard) -> None:
    write(shard, *(seen(f"sku-{n}", life=1000) for n in range(600)))
    lives = [shard.client.ttl(key) for key in shard.client.scan_iter(f"{shard.root}:products:*", 1000)]
    assert len(lives) > 2
    assert all(0 < life <= 1000 for life in lives)


@pytest.mark.parametrize(("identity", "number", "most"), [("LF-{:08d}", 100_000, 52.0), (URL, 20_000, 175.0)])
def test_a_product_takes_few_bytes(redis_server: RedisServer, identity: str, number: int, most: float) -> None:
    shard, batch = Shard(redis_server.client(), test_clock=False), 1000
    before = shard.client.info("memory")["used_memory"]
    for first in range(0, number, batch):
        prints = [secrets.token_bytes(2 * len(FIELDS)) for _ in range(batch)]
        write(shard, *(seen(identity.format(first + n), prints=prints[n]) for n in range(batch)))
    keys = list(shard.client.scan_iter(f"{shard.root}:products:*", 1000))
    held = sum(shard.client.memory_usage(key, samples=0) for key in keys)
    grown = shard.client.info("memory")["used_memory"] - before
    shard.forget()
    print(f"{identity}: {held / number:.1f} bytes each in {len(keys)} keys, {grown / number:.1f} with all else")
    assert held / number < most


def test_the_longest_identity_is_remembered_whole(shard: Shard) -> None:
    identity = "中" * (LONGEST_IDENTITY // 3)
    write(shard, seen(identity))
    assert list(all_missing(shard, pass_=1)) == [identity]


def test_a_changed_field_is_named() -> None:
    item = product(name="Tent", price=Decimal("19.90"), images=["https://shop.example/1.png"])
    for name, value in (("name", "Tents"), ("price", Decimal("19.91")), ("images", []), ("brand", "Acme")):
        assert differing(fingerprints(item), fingerprints(replace(item, **{name: value}))) == [name]
    same = replace(item, price=Decimal("19.9000"), worker="another", crawl_id="another", url=item.url + "?utm_source=a")
    assert differing(fingerprints(item), fingerprints(same)) == []


def test_a_field_that_was_added_later_says_nothing_of_what_was_remembered_without_it() -> None:
    now = fingerprints(product())
    assert differing(now[:-2], now) == []


def test_hours_since_the_last_record_survive_the_counters_end() -> None:
    hour = Remembered(0, 65_530, b"")
    assert hour.hours_since((65_536 + 4) * 3600.0) == 11


def test_a_page_keeps_its_validators_in_as_many_bytes_as_stay_compact() -> None:
    page = Page(1, 2, 3, b"sku-1", 1_700_000_000, b'W/"abc"')
    assert Page.read(page.to_bytes()) == page
    assert page.conditions() == {"If-None-Match": b'W/"abc"', "If-Modified-Since": b"Tue, 14 Nov 2023 22:13:20 GMT"}
    long = page._replace(etag=b"e" * 64)
    assert Page.read(long.to_bytes()) == page._replace(etag=b"")
    assert len(page._replace(product=b"p" * notes.LONGEST_KEY).to_bytes()) <= LONGEST
    assert validators(Headers({"ETag": "x", "Last-Modified": "not a date"})) == (0, b"x")


def page_note(id_: bytes, due: int = 0, left: int = 2) -> notes.Note:
    return notes.page(TOPIC, SITE, id_, Page(due, 60, left, b"sku-1").to_bytes())


def revisit(shard: Shard, id_: bytes) -> tuple[bytes | None, bytes | None]:
    [found] = shard.run("revisit", shard.root, msgpack.packb([(TOPIC, SITE, id_)], use_bin_type=False))
    return tuple(found)


def test_a_page_that_is_not_due_counts_as_seen_as_often_as_it_may(shard: Shard) -> None:
    one = page(1, scope=f"{TOPIC}:{SITE}")
    write(shard, seen("sku-1"), page_note(one.id, due=shard.now // 1000 + 60))
    shard.run("passed", shard.crawl("before").root, TOPIC, SITE, 0)
    for crawl, taken in (("a", 0), ("b", 0), ("c", 1)):
        worker = shard.worker(shard.crawl(crawl).name)
        assert worker.enqueue(one) == (taken, 0, 0)
        assert worker.enqueue(one) == (0, 1, 0)
        assert shard.crawls[crawl].counts.get("filtered:not due", 0) == 1 - taken
    assert Remembered.read(recall(shard, "sku-1")[0] or b"").seen_in == 1
    shard.check()


def test_a_page_that_is_due_or_whose_product_is_forgotten_is_fetched(shard: Shard) -> None:
    scope, later = f"{TOPIC}:{SITE}", shard.now // 1000 + 60
    write(shard, page_note(page(1).id, due=later), page_note(page(2).id, due=shard.now // 1000))
    worker = shard.worker()
    assert worker.enqueue(page(1, scope=scope), page(2, scope=scope), page(3, scope=scope)) == (3, 0, 0)
    write(shard, seen("sku-1"))
    assert worker.enqueue(page(4, scope="")) == (1, 0, 0)


def test_a_page_that_was_not_sent_may_be_skipped_once_less(shard: Shard) -> None:
    id_ = page(1).id
    write(shard, seen("sku-1"), page_note(id_))
    write(shard, notes.skipped(TOPIC, SITE, id_, 500, 120))
    found, product = revisit(shard, id_)
    assert product
    assert Page.read(found or b"")[:4] == (500, 120, 1, b"sku-1")
    assert revisit(shard, b"12345678") == (None, None)


def test_a_page_that_could_not_be_had_vouches_for_its_product(shard: Shard) -> None:
    write(shard, seen("sku-1"))
    shard.run("passed", shard.crawl("one").root, TOPIC, SITE, 0)
    write(shard, notes.vouched(TOPIC, SITE, b"sku-1"), notes.vouched(TOPIC, SITE, b"sku-2"))
    assert Remembered.read(recall(shard, "sku-1")[0] or b"").seen_in == 1
    assert recall(shard, "sku-2") == [None]


def test_pages_that_nobody_has_visited_for_long_are_forgotten_as_others_come(shard: Shard) -> None:
    old = page(0).id
    write(shard, page_note(old, due=shard.now // 1000 - 91 * 86_400))
    for first in range(1, 601, 100):
        write(shard, *(page_note(page(n).id, due=shard.now // 1000) for n in range(first, first + 100)))
    assert revisit(shard, old) == (None, None)
    assert revisit(shard, page(1).id)[0]


def test_a_page_that_was_the_first_to_lead_to_others_is_never_skipped() -> None:
    told = [seen("sku-1"), page_note(b"12345678")]
    assert notes.as_told(told, leads_on=False) == told
    first, second = notes.as_told(told, leads_on=True)
    assert first == told[0]
    assert Page.read(second[4]).left == 0  # type: ignore[arg-type]


@pytest.mark.parametrize(("links", "left"), [((0,), 2), ((0, 7), 0)])
def test_a_settlement_knows_whether_its_links_were_new(
    redis_server: RedisServer, links: tuple[int, ...], left: int
) -> None:
    async def story() -> None:
        async with scene(redis_server) as now:
            for number in links:
                now.frontier.enqueue(page(number), now.lease)
            now.frontier.settle(now.lease, "delivered", notes=[page_note(now.lease.id)])
            await eventually(lambda: now.frontier.quiet, "not settled")
            [key] = redis_server.client().scan_iter(f"{now.frontier.keys.shard(0)}:pages:*:1")
            assert Page.read(redis_server.client().hget(key, now.lease.id)).left == left

    asyncio.run(story())


def test_a_record_that_is_not_produced_after_all_leaves_its_product_as_seen() -> None:
    told = [seen("sku-1"), seen("sku-2"), page_note(b"12345678"), notes.gone(TOPIC, SITE, "sku-3", b"")]
    one, two, _, gone = told
    refused = product(site=SITE, identity="sku-1")
    assert notes.without(told, refused) == [two, gone, notes.vouched(TOPIC, SITE, b"sku-1")]
    assert notes.without(told, replace(refused, identity="sku-3")) == [one, two]


def test_a_product_that_a_later_pass_has_seen_is_not_missing(shard: Shard) -> None:
    shard.run("passed", shard.crawl("one").root, TOPIC, SITE, 0)
    write(shard, seen("sku-1"))
    assert list(all_missing(shard, pass_=0)) == []
    [value] = recall(shard, "sku-1")
    assert (notes.missed(0, Remembered.read(value or b"")), notes.missed(3, Remembered.read(value or b""))) == (0, 2)


@pytest.mark.parametrize("life", [0, 1000])
def test_a_retention_that_changes_changes_the_life_of_everything(shard: Shard, life: int) -> None:
    write(shard, *(seen(f"sku-{n}", life=2000 - 2 * life) for n in range(600)))
    shard.run("passed", shard.crawl("one").root, TOPIC, SITE, life)
    passes = f"{shard.root}:memory:{TOPIC}:{SITE}"
    assert (shard.client.ttl(passes) == -1) == (life == 0)
    for first in range(0, 600, 200):
        write(shard, *(seen(f"sku-{n}", life=life) for n in range(first, first + 200)))
    lives = [shard.client.ttl(key) for key in shard.client.scan_iter(f"{shard.root}:products:*", 1000)]
    assert [value > 0 for value in (*lives, shard.client.ttl(passes))] == [life > 0] * (len(lives) + 1)


def put(memory: ProductMemory, shard: int, identity: str, seen_in: int) -> Any:
    """A product as it was seen in that pass."""
    root = f"{memory.keys.shard(shard)}:products:{memory.topic.id}:{SITE}:1"
    return memory.ask(shard, ("HSET", root, identity, seen_in.to_bytes(2, "big") + b"\0\7" + PRINTS))


@dataclass
class Told:
    """What GoneProducts asks of a frontier."""

    crawl: str = "now"


def test_a_product_that_moved_to_another_shard_is_not_gone_though_that_shard_was_told_by_another_worker(
    redis_server: RedisServer,
) -> None:
    async def story() -> None:
        keys = Keys(f"test-{secrets.token_hex(4)}", "spider", 2)
        memory = ProductMemory(servers(REDIS_URL=redis_server.url), keys)
        memory.topic = Topic(TOPIC)
        gone: Any = GoneProducts(memory, None, Told(), {SITE: frozenset()}, 3, None)  # type: ignore[arg-type]
        for shard in (0, 1):
            await memory.ask(shard, ("HSET", f"{keys.shard(shard)}:memory:{TOPIC}:{SITE}", "passes", 5))
        await put(memory, 0, "moved", 5)
        await put(memory, 1, "moved", 1)
        await put(memory, 1, "gone", 1)
        await put(memory, 1, "there", 5)
        await memory.ask(0, run("passed", keys.shard(0), keys.crawl(0, "now"), TOPIC, SITE, 0))
        assert [one.identity for one in await gone._of_site(SITE)] == ["gone"]
        assert await memory.recall(1, SITE, b"moved") is None
        assert await memory.recall(0, SITE, b"moved")
        await memory.close()

    asyncio.run(story())


def test_nothing_is_left_of_a_topic_that_was_made_anew(redis_server: RedisServer) -> None:
    async def story() -> None:
        keys = Keys(f"test-{secrets.token_hex(4)}", "spider", 2)
        memory = ProductMemory(servers(REDIS_URL=redis_server.url), keys)
        for topic in ("products:old", "other:id"):
            await memory.begin(Topic(topic))
            for shard in (0, 1):
                await memory.write(shard, *(notes.seen(topic, SITE, f"sku-{n}", 7, PRINTS, 0) for n in range(600)))
                await memory.write(shard, notes.page(topic, SITE, b"12345678", Page(0, 0, 2, b"sku-1").to_bytes()))
        await memory.begin(Topic("products:new"))
        names = redis_server.client().scan_iter(f"{keys.namespace}:*", 1000)
        assert not [name for name in names if b"products:old" in name]
        assert {await memory.topic_id(name) for name in ("products", "other")} == {"products:new", "other:id"}
        assert await memory.recall(1, SITE, b"sku-1") is None
        memory.topic = Topic("other:id")
        assert await memory.recall(1, SITE, b"sku-1")
        await memory.close()

    asyncio.run(story())


def test_a_page_whose_request_was_worked_on_before_is_read_every_time(shard: Shard) -> None:
    first = shard.worker()
    first.enqueue(page(1), page(2), page(3))
    given_back, lost, fresh = first.lease(3)
    first.settle(("release", given_back.id, given_back.token, 1, 1), release(fresh))
    shard.lose(first)
    second = shard.worker()
    assert {one.id: one.has_led for one in second.lease()} == {given_back.id: 1, lost.id: 1, fresh.id: 0}

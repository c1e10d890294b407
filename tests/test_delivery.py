"""A crawl's records on a real topic, read by a consumer that knows nothing of Seine but the contract."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path

import pytest

from deploy.demo_shop import DemoShop
from tests.support import Consumed, Finished, Seine, consume
from tests.truth import differences

_MARKUPS = {
    "json-ld",
    "json-ld-graph",
    "json-ld-itempage",
    "json-ld-broken",
    "json-ld-many",
    "microdata",
    "rdfa",
    "opengraph",
}


@pytest.fixture
def crawled(seine: Seine, sites: Path, shop: DemoShop) -> tuple[Finished, list[Consumed]]:
    """A crawl of the whole demo shop, and the records it left."""
    (sites / "demo.toml").write_text(shop.site_toml())
    finished = seine.crawl("-O", str(seine.folder / "out.jsonl"), FRONTIER_CRAWL_ID="one")
    assert finished.code == 0, finished.err[-3000:]
    return finished, consume(seine.env, seine.env["KAFKA_TOPIC_PRODUCTS"])


def test_a_crawl_delivers_the_demo_shop_as_it_is(
    seine: Seine, shop: DemoShop, crawled: tuple[Finished, list[Consumed]]
) -> None:
    finished, records = crawled
    truth = {row["url"]: row for row in shop.truth() if row["reachable"] and row["markup"] != "visible"}
    found = {record.value["canonical_url"]: record.value for record in records}

    assert set(found) == set(truth)
    wrong = {url: bad for url, row in truth.items() if (bad := differences(row, found[url]))}
    assert not wrong, f"{len(wrong)} products differ, such as {next(iter(wrong.items()))}"

    _check_keys_and_headers(records)
    _check_partitions(records)
    _check_accounts(finished, records)
    _check_export(seine.folder / "out.jsonl", records)
    assert not [entry for entry in shop.log() if "/private/" in entry["path"]], "robots.txt was not obeyed"


def _check_keys_and_headers(records: list[Consumed]) -> None:
    for record in records:
        value, headers = record.value, record.headers
        assert record.key == f"demo/{value['identity']}"
        assert value["identity"] == value["sku"]
        assert headers["record_id"] == headers["ce_id"] == value["record_id"]
        assert headers["crawl_id"] == value["crawl_id"] == "one"
        assert (headers["spider"], headers["ce_specversion"]) == ("product_spider", "1.0")
        assert datetime.fromisoformat(headers["ce_time"]) == value["fetched_at"]
        assert re.fullmatch("[0-9a-f]{64}", value["content_hash"])
    assert len({record.value["record_id"] for record in records}) == len(records)


def _check_partitions(records: list[Consumed]) -> None:
    for record in records:
        assert record.partition == java_partition(record.key.encode(), 6), record.key


def _check_accounts(finished: Finished, records: list[Consumed]) -> None:
    """One event per request and per item, all of the crawl."""
    assert len(finished.events("item", fate="acknowledged")) == len(records)
    assert len(finished.events("request", outcome="delivered")) == len(records)
    assert {event["crawl_id"] for event in finished.events("request")} == {"one"}
    assert f"{len(records)} acknowledged" in finished.err


def _check_export(path: Path, records: list[Consumed]) -> None:
    exported = [json.loads(line) for line in path.read_text().splitlines()]
    assert {row["record_id"] for row in exported} == {record.value["record_id"] for record in records}


def test_the_same_crawl_gives_the_same_record_ids_and_another_crawl_gives_others(seine: Seine, shop: DemoShop) -> None:
    url = next(row["url"] for row in shop.truth() if row["markup"] == "json-ld" and row["reachable"])
    for crawl_id in ("one", "one", "two"):
        assert seine.crawl("-a", f"urls={url}", FRONTIER_CRAWL_ID=crawl_id).code == 0

    ids = [
        (r.headers["crawl_id"], r.headers["record_id"]) for r in consume(seine.env, seine.env["KAFKA_TOPIC_PRODUCTS"])
    ]
    assert len(ids) == 3
    assert len(set(ids)) == 2


def test_a_page_of_no_known_site_is_keyed_by_domain_and_url(seine: Seine, shop: DemoShop) -> None:
    url = next(row["url"] for row in shop.truth() if row["markup"] == "microdata" and row["reachable"])
    assert seine.crawl("-a", f"urls={url}").code == 0

    [record] = consume(seine.env, seine.env["KAFKA_TOPIC_PRODUCTS"])
    domain = url.split("/")[2]
    assert record.key == f"{domain}/{url}"


def test_records_tail_shows_what_the_topic_holds(seine: Seine, shop: DemoShop) -> None:
    row = next(row for row in shop.truth() if row["markup"] == "json-ld" and row["reachable"])
    assert seine.crawl("-a", f"urls={row['url']}").code == 0

    as_json = seine.run("records", "tail", "--format", "json")
    assert json.loads(as_json.out)["value"]["name"] == row["name"]
    as_table = seine.run("records", "tail")
    assert row["sku"] in as_json.out
    assert row["name"][:20] in as_table.out


@pytest.mark.parametrize(
    ("key", "hash_in_java"),
    [(b"21", -973932308), (b"foobar", -790332482), (b"a-little-bit-long-string", -985981536), (b"abc", 479470107)],
)
def test_the_tests_murmur2_is_javas(key: bytes, hash_in_java: int) -> None:
    assert _murmur2(key) == hash_in_java


def java_partition(key: bytes, partitions: int) -> int:
    return (_murmur2(key) & 0x7FFFFFFF) % partitions


def _murmur2(data: bytes) -> int:
    """Kafka's murmur2, as Java computes it: a signed 32-bit integer."""
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    h = (0x9747B28C ^ len(data)) & mask
    whole = len(data) & ~3
    for place in range(0, whole, 4):
        k = int.from_bytes(data[place : place + 4], "little") * m & mask
        h = (h * m & mask) ^ ((k ^ k >> 24) * m & mask)
    if tail := data[whole:]:
        h = (h ^ int.from_bytes(tail, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    h ^= h >> 15
    return h - (1 << 32) if h >> 31 else h

"""`scrapy records forget` leaves a tombstone where a product's records are, and says what it found."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from crawlers.forgetting.trail import shown_key
from crawlers.masking.keys import MaskingKeys
from crawlers.masking.masking import Masking
from crawlers.masking.rules import FieldRules, MaskingRules
from crawlers.site_config import Site
from tests.servers.web import Page, WebServer
from tests.support import Finished, Seine, consume, own_topics
from tests.topics import admin_of, create_topic

_KEYS = f"k2:{'n' * 32},k1:{'o' * 32}"


def _page(name: str, **product: Any) -> Page:
    data = {"@context": "https://schema.org", "@type": "Product", "name": name, **product}
    script = f'<script type="application/ld+json">{json.dumps(data)}</script>'
    return Page(f"<html>{script}<h1>{name}</h1></html>")


def _messages(seine: Seine, topic: str) -> list[Any]:
    """Every message of a topic, tombstones too, by partition and offset."""
    consumer = Consumer({"bootstrap.servers": seine.env["KAFKA_BOOTSTRAP_SERVERS"], "group.id": "test-raw"})
    messages = []
    try:
        for partition in consumer.list_topics(topic, timeout=10).topics[topic].partitions:
            _, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
            consumer.assign([TopicPartition(topic, partition, 0)])
            while not messages or messages[-1].partition() != partition or messages[-1].offset() < end - 1:
                if not end:
                    break
                message = consumer.poll(30)
                assert message is not None
                assert message.error() is None
                messages.append(message)
    finally:
        consumer.close()
    return messages


def _latest(seine: Seine) -> dict[str, bool]:
    """Of each key: whether it has a value, as a consumer that has read everything knows it."""
    found = _messages(seine, seine.env["KAFKA_TOPIC_PRODUCTS"])
    return {message.key().decode(): message.value() is not None for message in found}


@pytest.fixture
def shop(web: Callable[..., WebServer], sites: Path) -> WebServer:
    """Two products; the first one's address has a parameter that is somebody's."""
    server = web({"/p/1?to=jane@shop.example": _page("Lamp"), "/p/2": _page("Desk")})
    seeds = f'seeds = ["{server.url}/p/1?to=jane@shop.example", "{server.url}/p/2"]'
    (sites / "shop.toml").write_text(f'name = "shop"\ndomains = ["{server.domain}"]\n{seeds}\n')
    return server


@pytest.fixture
def crawled(seine: Seine, shop: WebServer) -> WebServer:
    assert seine.crawl().code == 0
    return shop


def test_a_forgotten_product_has_a_tombstone_and_the_others_none(seine: Seine, crawled: WebServer) -> None:
    lamp, desk = f"shop/{crawled.url}/p/1?to=jane@shop.example", f"shop/{crawled.url}/p/2"

    dry = seine.run("records", "forget", lamp, "--dry-run")
    assert (dry.code, _latest(seine)) == (0, {lamp: True, desk: True})
    assert "records    1" in dry.out
    assert "nothing is forgotten" in dry.out

    done = seine.run("records", "forget", lamp, "--yes")

    assert done.code == 0, done.err
    assert f"1 tombstone on {seine.env['KAFKA_TOPIC_PRODUCTS']}" in done.out
    assert _latest(seine) == {lamp: False, desk: True}
    record, tombstone = (
        one for one in _messages(seine, seine.env["KAFKA_TOPIC_PRODUCTS"]) if one.key() == lamp.encode()
    )
    assert tombstone.partition() == record.partition()
    headers = dict(tombstone.headers())
    assert (headers["ce_type"], headers["ce_source"]) == (b"seine.product.forgotten", b"/seine/forget/shop")
    assert b"jane" not in repr(headers).encode()
    _check_trail(seine, lamp, dict(record.headers())["record_id"].decode())


def _check_trail(seine: Seine, key: str, record_id: str) -> None:
    """The trail tells of what was forgotten by a hash, as its address holds somebody's."""
    events = consume(seine.env, seine.env["KAFKA_TOPIC_PAGES"])
    [event] = [one for one in events if one.value["outcome"] == "forgotten"]
    assert event.headers["ce_type"] == "seine.product.forgotten"
    assert event.value["reason"] == f"key {hashlib.sha256(key.encode()).hexdigest()}"
    assert (event.value["site"], event.value["record_ids"]) == ("shop", [record_id])
    assert "jane" not in repr(event)


def test_a_product_is_found_by_its_page_and_whatever_key_masked_it(seine: Seine, shop: WebServer) -> None:
    rules = {"MASKING_PATTERNS": "email=tokenise"}
    for crawl, keys in (("one", _KEYS.split(",")[1]), ("two", _KEYS)):
        assert seine.crawl(FRONTIER_CRAWL_ID=crawl, MASKING_KEYS=keys, **rules).code == 0
    assert len([key for key in _latest(seine) if "tok_k1_" in key]) == 1

    masked = Seine(seine.folder, {**seine.env, **rules, "MASKING_KEYS": _KEYS})
    done = masked.run("records", "forget", "--url", f"{shop.url}/p/1?to=jane@shop.example#top", "--yes")

    assert done.code == 0, done.err
    assert "records    2" in done.out
    assert sorted(_latest(seine).values()) == [False, True]
    assert "jane" not in done.out


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("shop/SKU-1", None),
        ("free/4006381333931", None),
        ("free/http://shop.example/p/1", None),
        ("shop/tok_k1_" + "a" * 32, None),
        ("stranger.example/http://stranger.example/?to=jane@shop.example", "tok_k1_"),
        ("stranger.example/http://stranger.example/?session=1", "tok_k1_"),
        ("hidden/Jane Doe", "tok_k1_"),
    ],
)
def test_the_trail_tells_a_personal_key_by_its_hash(key: str, shown: str | None) -> None:
    hidden = MaskingRules(fields=FieldRules(sku="tokenise"))
    sites = {
        name: Site(name=name, domains=(f"{name}.example",), identity="sku", masking=rules)
        for name, rules in (("shop", MaskingRules()), ("free", MaskingRules()), ("hidden", hidden))
    }
    keys = MaskingKeys.read(_KEYS.split(","), "")
    masking = Masking(MaskingRules(query={"session": "drop"}), keys, tuple(sites.values()))
    assert shown_key(key, masking, sites).startswith(shown or key)


@pytest.fixture
def topics(seine: Seine) -> Topics:
    """Empty topics of products and dead letters."""
    return Topics(seine.env)


class Topics:
    """Made as a crawl makes them, and written to as any producer can."""

    def __init__(self, env: dict[str, str]):
        self.products, self.letters = env["KAFKA_TOPIC_PRODUCTS"], env["KAFKA_TOPIC_DEAD_LETTERS"]
        servers = {"bootstrap.servers": env["KAFKA_BOOTSTRAP_SERVERS"]}
        self.admin, self._producer = admin_of(env), Producer(servers)
        for name in (self.products, self.letters, env["KAFKA_TOPIC_PAGES"]):
            create_topic(self.admin, name, 6)

    def put(self, topic: str, key: str, partition: int = 0) -> None:
        """A record; nothing in it matters to who forgets it by its key."""
        self._producer.produce(topic, key=key, value=b"any", partition=partition)
        assert self._producer.flush(30) == 0


def test_a_product_that_comes_again_is_there_again_and_can_be_forgotten_again(seine: Seine, topics: Topics) -> None:
    for _ in range(2):
        topics.put(topics.products, "shop/1")
        assert _latest(seine)["shop/1"] is True
        assert seine.run("records", "forget", "shop/1", "--yes").code == 0
        assert _latest(seine)["shop/1"] is False


def test_a_tombstone_goes_to_every_partition_that_has_the_key(seine: Seine, topics: Topics) -> None:
    """A topic that was given more partitions has a key's records in two of them."""
    for partition in (2, 5):
        topics.put(topics.products, "shop/1", partition)

    assert "2 tombstones" in seine.run("records", "forget", "shop/1", "--yes").out

    found = [(one.partition(), one.value()) for one in _messages(seine, topics.products)]
    assert found == [(2, b"any"), (2, None), (5, b"any"), (5, None)]


def test_dead_letters_stay_and_it_is_said_until_when(seine: Seine, topics: Topics) -> None:
    topics.put(topics.products, "shop/1")
    for key in ("shop/1", "shop/1", "shop/2"):
        topics.put(topics.letters, key)
    retention = ConfigEntry("retention.ms", str(3 * 86_400_000), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topics.letters, incremental_configs=[retention])
    topics.admin.incremental_alter_configs([resource])[resource].result(30)

    done = seine.run("records", "forget", "shop/1", "--dry-run")

    until = datetime.now(UTC) + timedelta(days=3)
    assert f"stays      2 dead letters, until {until:%Y-%m-%d}" in done.out


def test_claims_go_with_the_last_record_that_refers_to_them(seine: Seine, shop: WebServer, tmp_path: Path) -> None:
    """Two products of one page's bytes share a claim; one that was stored just now stays for a while."""
    page = _page("Lamp", description=secrets.token_hex(2000))
    shop.pages = {"/p/1?to=jane@shop.example": page, "/p/2": page}
    store = {"CLAIM_CHECK_URL": f"file://{tmp_path}/store", "STORE_CONTENT": "1", "CLAIM_CHECK_THRESHOLD": "1"}
    claiming = Seine(seine.folder, {**seine.env, **store})
    assert claiming.crawl().code == 0
    [blob] = (one for one in (tmp_path / "store").rglob("*") if one.is_file())
    first, second = _latest(seine)

    without = seine.run("records", "forget", first, "--yes")
    assert (without.code, _latest(seine)[first]) == (2, True)
    assert "refer to 1 claim: set CLAIM_CHECK_URL" in without.err

    shared = claiming.run("records", "forget", first, "--yes")
    assert "claims     1, 1 of them referred to by other records" in shared.out
    assert (shared.code, blob.exists()) == (0, True)

    new = claiming.run("records", "forget", second, "--yes")
    assert "left       1 claim, stored less than 10 minutes ago" in new.out
    assert (new.code, blob.exists(), _latest(seine)[second]) == (1, True, False)

    an_hour_ago = time.time() - 3600
    os.utime(blob, (an_hour_ago, an_hour_ago))
    last = claiming.run("records", "forget", second, "--yes")
    assert "deleted    1 claim" in last.out
    assert (last.code, blob.exists()) == (0, False)
    verified = claiming.run("claims", "verify")
    assert "1 claims" in verified.out
    assert (verified.code, "0 good, 1 forgotten" in verified.out) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "expected one KEY, site/identity"),
        (["lamp"], 2, "expected one KEY, site/identity"),
        (["shop/1", "shop/2"], 2, "expected one KEY, site/identity"),
        (["shop/1", "--url", "http://shop.example/"], 2, "expected a KEY or --url URL, not both"),
        (["--url", "shop.example"], 2, "--url shop.example: expected an http or https URL"),
        (["shop/none", "--yes"], 1, "holds no record of the key 'shop/none'"),
        (["--url", "http://shop.example/none", "--yes"], 1, "holds no record of the page http://shop.example/none"),
    ],
)
def test_what_cannot_be_forgotten_is_told(crawled_once: Seine, arguments: list[str], code: int, message: str) -> None:
    _assert_refused(crawled_once.run("records", "forget", *arguments), code, message)


@pytest.fixture(scope="module")
def crawled_once(tmp_path_factory: pytest.TempPathFactory, kafka_env: dict[str, str]) -> Seine:
    """A topic with a record that nobody forgets."""
    folder = tmp_path_factory.mktemp("forgetting")
    (folder / "sites").mkdir()
    env = {"SITES_DIR": str(folder / "sites"), "REDIS_URL": "", "DOWNLOAD_DELAY": "0"}
    seine = Seine(folder, {**env, **kafka_env, **own_topics()})
    with WebServer({"/p/1": _page("Lamp")}) as server:
        assert seine.crawl("-a", f"urls={server.url}/p/1").code == 0
    return seine


def test_without_a_terminal_or_a_yes_nothing_is_forgotten(crawled_once: Seine) -> None:
    [key] = _latest(crawled_once)
    _assert_refused(crawled_once.run("records", "forget", key), 2, "Forget 1 product? Nothing was done: add --yes")
    assert _latest(crawled_once) == {key: True}


def test_an_option_of_the_other_verb_is_told(offline: Seine) -> None:
    finished = offline.run("records", "forget", "shop/1", "--follow")
    assert finished.code == 2
    assert "--follow does not belong here. Expected: scrapy records forget" in finished.err
    finished = offline.run("records", "tail", "--yes")
    assert finished.code == 2
    assert "--yes does not belong here. Expected: scrapy records tail" in finished.err


def test_without_kafka_there_is_nothing_to_forget(offline: Seine) -> None:
    finished = offline.run("records", "forget", "shop/1", "--yes")
    _assert_refused(finished, 2, "KAFKA_BOOTSTRAP_SERVERS is not set")


def _assert_refused(finished: Finished, code: int, message: str) -> None:
    [line] = [line for line in finished.err.splitlines() if line.startswith("seine: ")]
    assert message in line
    assert finished.code == code
    assert "Traceback" not in finished.err

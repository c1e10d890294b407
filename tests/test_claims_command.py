"""`scrapy claims`, as an operator runs it, on real topics and both kinds of store."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from backports import zstd
from confluent_kafka import Producer as Client
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource
from scrapy.settings import Settings

from crawlers.items import Product
from pipelines.avro import AvroPipeline
from pipelines.claim_check import ClaimCheckPipeline
from pipelines.claims.claims import Claims, consumer_base, files_of
from pipelines.claims.layout import blob_path
from pipelines.claims.store import ClaimStore
from pipelines.producer import Producer, producer_config
from pipelines.registry import Registry
from pipelines.topics import ensure_topics
from tests.servers.hdfs import HdfsServer
from tests.support import Seine, consume
from tests.test_claim_store import a_store, run

LONG_AGO = time.time() - 400 * 86_400
"""Past the products' retention of 364 days, and its margin of 7."""


PAGES = {name: b"<html>" + name.encode() + secrets.token_bytes(3000) for name in ("tent", "stove")}


@pytest.fixture
def crawled(seine: Seine) -> Seine:
    """Seine, once two products are on its topic and their pages in a store of local files."""
    seine.env["CLAIM_CHECK_URL"] = f"file://{seine.folder}/store"
    deliver(seine)
    return seine


def deliver(seine: Seine) -> None:
    """Do what a crawl's pipelines do, without the crawl."""
    settings = Settings()
    settings.setmodule("crawlers.settings")
    settings.update({name: value for name, value in seine.env.items() if name in settings["SETTINGS_CONTRACT"]})
    settings.update({"KAFKA_CREATE_TOPICS": 1})
    ensure_topics(settings)
    topic = settings["KAFKA_TOPIC_PRODUCTS"]
    schema_id = Registry(settings["SCHEMA_REGISTRY_URL"]).schema_id(f"{topic}-value", "products", register=True)
    avro, producer = AvroPipeline(topic, schema_id), Producer(producer_config(settings), drain_seconds=5)

    async def work() -> None:
        claims = Claims(ClaimStore(files_of(settings)), consumer_base(settings))
        claim_check = ClaimCheckPipeline(claims, threshold=2000)
        for name, page in PAGES.items():
            item = Product(url="http://x/", canonical_url="http://x/", name=name, site="shop", identity=name)
            item.fetched_at, item.content = datetime.now(UTC), zstd.compress(page)
            await producer.send(avro.process_item(await claim_check.process_item(item)))
        await claims.close()
        await producer.close()

    run(work())


def claims(seine: Seine) -> dict[str, dict[str, Any]]:
    """The claims on the topic, by product."""
    records = consume(seine.env, seine.env["KAFKA_TOPIC_PRODUCTS"])
    return {record.value["name"]: record.value["content"] for record in records}


def blobs(seine: Seine) -> Iterator[Path]:
    return (path for path in (seine.folder / "store").rglob("*") if path.is_file())


def store(seine: Seine, data: bytes, used: float | None = None) -> Path:
    """A blob that no record refers to."""
    path = seine.folder / "store" / blob_path(hashlib.sha256(data).hexdigest())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    if used is not None:
        os.utime(path, (used, used))
    return path


def test_get_gives_the_page_of_a_uri_or_a_hash(crawled: Seine) -> None:
    claim = claims(crawled)["tent"]
    out, stored = crawled.folder / "page.html", crawled.folder / "stored"
    assert crawled.run("claims", "get", claim["uri"], "-o", str(out)).code == 0
    assert out.read_bytes() == PAGES["tent"]
    assert crawled.run("claims", "get", claim["sha256"], "--stored", "-o", str(stored)).code == 0
    assert hashlib.sha256(stored.read_bytes()).hexdigest() == claim["sha256"]

    unknown = crawled.run("claims", "get", "0" * 64)
    assert (unknown.code, unknown.err.count("seine: " + "0" * 64)) == (1, 1)
    next(path for path in blobs(crawled) if path.name == claim["sha256"]).write_bytes(b"something else")
    assert "another hash" in crawled.run("claims", "get", claim["sha256"]).err


def test_verify_names_every_claim_that_is_missing_or_not_what_its_record_says(crawled: Seine) -> None:
    good = crawled.run("claims", "verify")
    assert (good.code, good.out.strip().endswith("2 good")) == (0, True), good.out + good.err

    found = claims(crawled)
    for path in blobs(crawled):
        if path.name == found["tent"]["sha256"]:
            path.unlink()
        else:
            path.write_bytes(b"something else")
    bad = crawled.run("claims", "verify")
    assert bad.code == 1
    assert re.search(f"missing: {found['tent']['sha256']} of {crawled.env['KAFKA_TOPIC_PRODUCTS']}", bad.out)
    assert re.search(f"corrupt: {found['stove']['sha256']}", bad.out)
    assert "2 records, 2 claims" in bad.out


def test_gc_deletes_only_what_is_old_and_not_referred_to(crawled: Seine) -> None:
    for path in blobs(crawled):
        os.utime(path, (LONG_AGO, LONG_AGO))
    old, fresh = store(crawled, b"nobody's", LONG_AGO), store(crawled, b"just stored")
    letters = store(crawled, b"of a dead letter", LONG_AGO)
    uri = f"file://{crawled.folder}/store/{blob_path(letters.name)}"
    client = Client({"bootstrap.servers": crawled.env["KAFKA_BOOTSTRAP_SERVERS"]})
    client.produce(crawled.env["KAFKA_TOPIC_DEAD_LETTERS"], b'{"content": {"uri": "%s"}}' % uri.encode())
    client.flush(10)
    kept = {*blobs(crawled)} - {old}

    dry = crawled.run("claims", "gc", "--dry-run")
    assert dry.code == 0, dry.err
    assert re.search(r"referred +3 of them, by 3 records\ndeletable +1 files, 8 B", dry.out), dry.out
    asked = crawled.run("claims", "gc")
    assert (asked.code, "seine: Delete 1 files? Nothing was done: add --yes" in asked.err) == (2, True), asked.err
    assert old.exists()

    done = crawled.run("claims", "gc", "--yes")
    assert (done.code, done.out.splitlines()[-1]) == (0, "deleted 1"), done.err
    assert {*blobs(crawled)} == kept
    assert fresh.exists()


def test_gc_deletes_nothing_where_a_topic_keeps_its_records_for_ever(crawled: Seine) -> None:
    old = store(crawled, b"nobody's", LONG_AGO)
    topic = ConfigResource(ConfigResource.Type.TOPIC, crawled.env["KAFKA_TOPIC_PRODUCTS"])
    topic.add_incremental_config(ConfigEntry("cleanup.policy", "compact", incremental_operation=AlterConfigOpType.SET))
    admin = AdminClient({"bootstrap.servers": crawled.env["KAFKA_BOOTSTRAP_SERVERS"]})
    for altered in admin.incremental_alter_configs([topic]).values():
        altered.result(10)

    done = crawled.run("claims", "gc", "--yes")
    assert done.code == 0, done.err
    assert "keeps its records for ever" in done.out
    assert old.exists()


def test_gc_and_verify_work_on_hdfs(seine: Seine, hdfs: HdfsServer) -> None:
    folder = f"command-{secrets.token_hex(4)}"
    seine.env["CLAIM_CHECK_URL"] = hdfs.url(folder)
    deliver(seine)
    data = b"nobody's"

    async def an_old_blob() -> None:
        async with a_store(hdfs.url(folder)) as claims:
            await claims.put(hashlib.sha256(data).hexdigest(), data)

    run(an_old_blob())
    long_ago = str(int(LONG_AGO * 1000))
    path = f"{folder}/{blob_path(hashlib.sha256(data).hexdigest())}"
    hdfs.ask("PUT", path, "SETTIMES", modificationtime=long_ago)

    done = seine.run("claims", "gc", "--yes")
    assert (done.code, done.out.splitlines()[-1]) == (0, "deleted 1"), done.err
    checked = seine.run("claims", "verify")
    assert (checked.code, checked.out.strip().endswith("2 good")) == (0, True), checked.out


def test_a_command_without_its_store_says_what_to_set(offline: Seine) -> None:
    unset = offline.run("claims", "verify")
    assert (unset.code, "CLAIM_CHECK_URL is not set" in unset.err) == (2, True)
    assert offline.run("claims", "get", "page").code == 2
    down = {"CLAIM_CHECK_URL": "webhdfs://127.0.0.1:1/x"}
    done = Seine(offline.folder, {**offline.env, **down}).run("claims", "get", "0" * 64)
    assert (done.code, done.err.startswith("seine: 127.0.0.1:1: ")) == (1, True)

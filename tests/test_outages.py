"""Outages in mid-crawl, on real services: nothing is lost, memory is bounded, it is told, and goes on by itself.

`make chaos` is the long form: OUTAGE_SECONDS=60.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from time import sleep
from typing import Any

import pytest

from deploy.local import Stack
from tests.outages import CONCURRENT, RECORDS, Crawl, ShopPages, was_away
from tests.polling import until
from tests.servers import kafka
from tests.servers.clock import FakeClock
from tests.servers.kafka import GuardedBroker
from tests.servers.redis import RedisServer
from tests.servers.web import WebServer
from tests.support import Seine, consume
from tests.topics import admin_of, create_topic, delete_topic

OUTAGE_SECONDS = float(os.environ.get("OUTAGE_SECONDS", "2"))
DAYS, NO_TIME = timedelta(days=2), timedelta(0)
LARGEST_GROWTH = 20
"""MiB by which a worker may grow while Kafka is away. RECORDS pages of 100 kB take 5, all that are left 30 at least,
without what is made of them."""

Crawling = Callable[..., Crawl]


@pytest.fixture
def crawling(seine: Seine, redis_server: RedisServer, web: Callable[..., WebServer]) -> Crawling:
    """Makes a crawl of its own of a shop of so many pages."""
    seine.env |= {"REDIS_URL": redis_server.url, "FRONTIER_NAMESPACE": f"test-{secrets.token_hex(4)}"}

    def make(count: int, **pages: Any) -> Crawl:
        shop = ShopPages(count, **pages)
        return Crawl(seine, redis_server.client(), shop, web(shop))

    return make


@pytest.mark.parametrize("end", [kafka.stop, kafka.kill], ids=["SIGTERM", "kill -9"])
def test_a_broker_that_restarts_while_records_are_produced(
    crawling: Crawling, kafka_stack: Stack, end: Callable[[Stack], None]
) -> None:
    crawl = crawling(300)
    crawl.pages.hold_after(100)
    worker = crawl.start()
    crawl.await_delivered(50)  # the others up to 100 are on their way
    with kafka.away(kafka_stack, end):
        crawl.pages.let_go()
        worker.says_away()
    crawl.check(worker)
    was_away(worker, crawl.topic)


def test_a_broker_that_is_silent(crawling: Crawling, kafka_stack: Stack) -> None:
    crawl = crawling(300)
    worker = crawl.start()
    crawl.await_delivered(50)
    with kafka.paused(kafka_stack):
        assert worker.says_away().startswith("no acknowledgement for 1 s")
    crawl.check(worker)
    was_away(worker, crawl.topic)


def test_a_broker_that_is_down_for_long_holds_the_crawl_back_and_takes_no_memory(
    crawling: Crawling, kafka_stack: Stack
) -> None:
    crawl = crawling(400, size=100_000)
    crawl.pages.hold_after(delivered := 100)
    worker = crawl.start(KAFKA_DELIVERY_TIMEOUT=1)
    crawl.await_delivered(delivered)
    with kafka.away(kafka_stack):
        before = worker.forget_peak()
        crawl.pages.let_go()
        worker.says("sink full: leasing pauses")
        until(lambda: len(worker.events("gauges", kafka_away=1, sink_full=1)), "the gauges do not tell")
        sleep(OUTAGE_SECONDS)
        fetched = len(crawl.server.visits)
    worker.says("kafka back", seconds=60)
    memory = worker.memory()
    crawl.check(worker)
    was_away(worker, crawl.topic)
    assert worker.events("sink has room")
    assert fetched <= delivered + 2 * RECORDS + 3 * CONCURRENT
    print(f"{fetched - delivered} pages of 100 kB wait; {before:.0f} MiB before, {memory.peak:.0f} MiB at the peak")
    assert memory.peak < before + LARGEST_GROWTH


def test_a_worker_that_is_told_to_stop_while_kafka_is_away_leaves_its_requests_to_another(
    crawling: Crawling, kafka_stack: Stack
) -> None:
    crawl = crawling(200)
    crawl.pages.hold_after(100)
    first = crawl.start(KAFKA_DRAIN_TIMEOUT=1)
    crawl.await_delivered(100)
    with kafka.away(kafka_stack):
        crawl.pages.let_go()
        first.says("kafka away")
        first.process.terminate()
        first.ended(code=1)
    assert first.events("request", outcome="pending", reason="undelivered")
    crawl.check(crawl.start())


@pytest.mark.parametrize("may_create", [True, False], ids=["created again", "left to its owner"])
def test_a_topic_that_is_deleted(crawling: Crawling, may_create: bool) -> None:
    crawl = crawling(200)
    client = admin_of(crawl.seine.env)
    crawl.pages.hold_after(100)
    worker = crawl.start(KAFKA_CREATE_TOPICS=int(may_create)) if may_create else started_without_rights(crawl)
    crawl.await_delivered(100)
    earlier = crawl.records()
    delete_topic(client, crawl.topic)
    crawl.pages.let_go()
    if not may_create:
        told = worker.says("topics missing")
        assert f"--create --topic {crawl.topic}" in told["why"]
        create_topic(client, crawl.topic)
    records = crawl.check(worker, earlier)
    assert len({record.value["sku"] for record in records}) == 100
    was_away(worker, crawl.topic)


def started_without_rights(crawl: Crawl) -> Any:
    """A worker that may not create topics; they are there."""
    for topic in crawl.topics:
        create_topic(admin_of(crawl.seine.env), topic)
    return crawl.start(KAFKA_CREATE_TOPICS=0)


def test_a_right_that_is_taken_away(crawling: Crawling, guarded: GuardedBroker) -> None:
    crawl = crawling(200)
    guarded.allow(*crawl.topics)
    crawl.seine.env |= guarded.plain_env()
    crawl.pages.hold_after(100)
    worker = crawl.start(KAFKA_TIMEOUT=20)
    crawl.await_delivered(100)
    guarded.forbid(*crawl.topics)
    crawl.pages.let_go()
    assert "Topic authorization failed" in worker.says_away()
    guarded.allow(*crawl.topics)
    crawl.seine.env["KAFKA_BOOTSTRAP_SERVERS"] = guarded.servers
    crawl.check(worker)
    was_away(worker, crawl.topic)


def test_records_too_large_for_the_topic_take_none_of_their_batch_with_them(
    crawling: Crawling, kafka_stack: Stack
) -> None:
    large = {number: 20_000 for number in range(3, 120, 5)}  # 10 kB when compressed
    crawl = crawling(120, size=20, sizes=large)
    limit = {"max.message.bytes": "9000"}  # more than the others make, together
    create_topic(admin_of(crawl.seine.env), crawl.topic, **limit)
    crawl.pages.hold_after(20)
    worker = crawl.start(KAFKA_TIMEOUT=20)
    until(lambda: sum(crawl.counts().get(outcome, 0) for outcome in ("delivered", "dead")) >= 20, "20 are not settled")
    with kafka.paused(kafka_stack):  # meanwhile batches fill
        crawl.pages.let_go()
        worker.says("sink full: leasing pauses")
    crawl.check(worker, dead=len(large))
    totals = worker.events("watched")[0]["totals"]
    twice_each = 2 * len(large)  # in a batch, and alone
    assert totals['seine_delivery_retries_total{error="MSG_SIZE_TOO_LARGE"}'] > twice_each, "no batch had others, too"
    assert totals['seine_items_total{fate="dead",reason="delivery"}'] == len(large)
    letters = consume(crawl.seine.env, crawl.seine.env["KAFKA_TOPIC_DEAD_LETTERS"], avro=False)
    assert {letter.value["sku"] for letter in letters} == {str(number) for number in large}
    assert {letter.headers["stage"] for letter in letters} == {"delivery"}
    assert not worker.events("kafka away")


def test_a_full_disk(crawling: Crawling, guarded: GuardedBroker) -> None:
    crawl = crawling(300, size=10_000)
    crawl.seine.env["KAFKA_BOOTSTRAP_SERVERS"] = guarded.servers
    worker = crawl.start()
    crawl.await_delivered(50)
    process = kafka.process_of(guarded.stack)
    guarded.disk.fill()
    process.wait(30)  # Kafka ends when it has no disk that works
    worker.says_away()
    guarded.disk.free()
    guarded.stack.up()
    crawl.check(worker)
    was_away(worker, crawl.topic)


def test_a_registry_that_goes_down_is_not_missed(crawling: Crawling, kafka_stack: Stack) -> None:
    crawl = crawling(120)
    crawl.pages.hold_after(50)
    worker = crawl.start()
    crawl.await_delivered(50)
    kafka_stack.down(services=["schema_registry"])
    try:
        crawl.pages.let_go()
        worker.ended()
    finally:
        kafka_stack.up(["schema_registry"])
    crawl.check(worker)


def test_a_clock_that_jumps_ahead_and_back(crawling: Crawling, kafka_stack: Stack, tmp_path: Path) -> None:
    """What slept on the wall clock when it is set back oversleeps by as much: librdkafka does."""
    crawl, clock = crawling(120), FakeClock(tmp_path / "clock")
    crawl.seine.env |= clock.env
    crawl.pages.hold_after(40)
    worker = crawl.start(KAFKA_TIMEOUT=20)
    crawl.await_delivered(40)
    clock.jump(DAYS)
    with kafka.paused(kafka_stack):
        crawl.pages.let_go()
        worker.says("sink full: leasing pauses")
        clock.jump(NO_TIME)
        worker.says("producer rebuilt")
    times = [record.value["fetched_at"] for record in crawl.check(worker)]
    assert not worker.events("request", outcome="retried"), "no download is timed out by the clock"
    assert DAYS < max(times) - min(times) < DAYS + timedelta(minutes=10)
    [rebuilt] = worker.events("producer rebuilt")
    assert "clock" in rebuilt["why"]
    assert not worker.events("kafka away")
    [watched] = worker.events("watched")
    assert watched["leases_lost"] == 0
    assert watched["totals"]["seine_producer_rebuilds_total"] == 1


def test_a_clock_that_is_too_far_ahead_for_a_topic_that_keeps_workers_times(crawling: Crawling, tmp_path: Path) -> None:
    crawl, clock = crawling(120), FakeClock(tmp_path / "clock")
    crawl.seine.env |= clock.env
    create_topic(admin_of(crawl.seine.env), crawl.topic, **{"message.timestamp.type": "CreateTime"})
    crawl.pages.hold_after(60)
    worker = crawl.start(KAFKA_TIMEOUT=20)
    crawl.await_delivered(60)
    clock.jump(DAYS)
    crawl.pages.let_go()
    assert worker.says_away() == "Broker: Invalid timestamp"
    clock.jump(NO_TIME)
    crawl.check(worker)
    was_away(worker, crawl.topic)

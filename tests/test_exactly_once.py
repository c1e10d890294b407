"""KAFKA_DELIVERY=exactly_once: a consumer that reads what is committed finds every record of a crawl once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local import Stack
from tests.exactly_once import CRAWL, LEASE_SECONDS, SLOTS, TRANSACTION_TIMEOUT, OnceCrawl
from tests.once_chaos import Chaos
from tests.polling import until
from tests.product_tree import HUGE, ProductTree
from tests.servers.kafka_cluster import KafkaCluster
from tests.servers.redis import RedisServer
from tests.servers.redis_sentinel import SentinelFleet
from tests.servers.web import WebServer
from tests.topics import admin_of, create_topic

PAGES = int(os.environ.get("ONCE_PAGES", "400"))
DISTURBANCES = int(os.environ.get("ONCE_DISTURBANCES", "8"))
SEED = int(os.environ.get("CHAOS_SEED", "5"))

Start = Callable[..., OnceCrawl]


@pytest.fixture
def redis_on_disk(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of the test's own, whose every write is in its log before it is acknowledged."""
    with RedisServer(tmp_path / "redis", appendonly="yes", appendfsync="always") as server:
        yield server


@pytest.fixture
def once(tmp_path: Path, kafka_env: dict[str, str], redis_server: RedisServer, web: Callable[..., WebServer]) -> Start:
    """A crawl of so many pages, on the shared Redis or one of its own."""

    def start(
        pages: int,
        broken_every: int = 10,
        huge: tuple[int, ...] = (),
        padding: int = 0,
        redis: Any = None,
        **settings: object,
    ) -> OnceCrawl:
        server = web(ProductTree(pages, broken_every, huge, padding))
        return OnceCrawl(tmp_path, kafka_env, redis or redis_server, server, **settings)

    return start


@pytest.fixture
def broker(kafka_stack: Stack) -> Iterator[Any]:
    """The broker's process; it runs again when the test is over."""
    process = kafka_stack.services["kafka"].daemons[0].process()
    assert process is not None
    yield process
    process.resume()


def test_records_and_dead_letters_are_committed_once_with_their_requests(once: Start) -> None:
    crawl = once(120)
    worker = crawl.start()
    _, err = worker.communicate(timeout=60)
    assert worker.returncode == 0, err[-2000:]
    counts = crawl.check()
    assert counts["delivered"] == 108
    assert counts["dead:item"] == 12
    assert "108 acknowledged" in err


def test_a_record_that_kafka_refuses_is_a_dead_letter_in_the_same_transaction(once: Start) -> None:
    crawl = once(60, broken_every=0, huge=(7, 8, 30))
    create_topic(admin_of(crawl.seine.env), crawl.topic, **{"max.message.bytes": str(HUGE // 8)})
    crawl.run()
    assert crawl.check()["dead:item"] == 3
    assert {letter.headers["stage"] for letter in crawl.letters()} == {"delivery"}


def test_no_committed_record_refers_to_a_claim_that_is_not_there(once: Start, tmp_path: Path) -> None:
    """Claims are stored before the transaction; a killed worker leaves some that nothing refers to."""
    store = {"CLAIM_CHECK_URL": f"file://{tmp_path / 'store'}", "CLAIM_CHECK_THRESHOLD": 0, "STORE_CONTENT": 1}
    (tmp_path / "store").mkdir()
    crawl = once(200, padding=5000, **store)
    crawl.server.latency = 0.05
    killed = crawl.start()
    until(lambda: crawl.settled() > 50, "nothing is settled", 60)
    killed.kill()
    killed.communicate()
    crawl.run()
    crawl.check()
    assert all(record.value["content"]["sha256"] for record in crawl.products())
    verified = crawl.seine.run("claims", "verify")
    assert verified.code == 0, verified.out + verified.err


def test_a_commit_in_doubt_is_decided_by_the_ledger(once: Start, broker: Any) -> None:
    """The broker stands still for longer than a transaction lives, with commits on their way."""
    crawl = once(300)
    crawl.server.latency = 0.05
    worker = crawl.start()
    until(lambda: crawl.settled() > 60, "nothing is settled", 60)
    broker.suspend()
    until(lambda: "transactions wait" in crawl.log(), "nobody says so", 60)
    broker.resume()
    _, err = worker.communicate(timeout=90)
    assert worker.returncode == 0, err[-2000:]
    crawl.check()
    assert "transactions go on" in crawl.log()


def test_another_worker_resolves_what_a_killed_one_had_prepared(once: Start, broker: Any) -> None:
    crawl = once(200)
    crawl.server.latency = 0.05
    worker = crawl.start()
    until(lambda: crawl.settled() > 40, "nothing is settled", 60)
    broker.suspend()
    until(crawl.prepared, "nothing is prepared")
    worker.kill()
    worker.communicate()
    broker.resume()
    crawl.run()
    crawl.check()
    assert 'left_by":"another' in crawl.log(2)


def test_a_worker_that_stood_still_commits_nothing_of_what_is_anothers_by_now(once: Start) -> None:
    crawl = once(300)
    crawl.server.latency = 0.1
    stopped = crawl.start()
    until(lambda: crawl.settled() > 30, "nothing is settled", 60)
    stopped.send_signal(signal.SIGSTOP)
    other = crawl.start()
    until(lambda: crawl.counts().get("lost", 0) > 0, "its leases are not taken", 10 * LEASE_SECONDS)
    until(lambda: crawl.settled() > 150, "the other does not go on", 60)
    stopped.send_signal(signal.SIGCONT)
    for worker in (stopped, other):
        _, err = worker.communicate(timeout=90)
        assert worker.returncode == 0, err[-2000:]
    crawl.check()


def test_what_a_rolled_back_redis_has_forgotten_is_not_produced_again(once: Start, redis_on_disk: RedisServer) -> None:
    crawl = once(300, redis=redis_on_disk)
    crawl.server.latency = 0.1
    worker = crawl.start()
    until(lambda: crawl.settled() > 60, "nothing is settled", 60)
    size = redis_on_disk.log_of_writes.stat().st_size
    until(lambda: crawl.settled() > 140, "it does not go on", 60)
    redis_on_disk.kill_and_forget(size)
    redis_on_disk.start()
    assert crawl.settled() < 100
    _, err = worker.communicate(timeout=90)
    assert worker.returncode == 0, err[-2000:]
    crawl.check()
    assert len(crawl.server.visits) > 300, "pages are fetched again, for their links"


def test_a_worker_without_a_slot_leases_nothing_until_one_is_free(once: Start) -> None:
    crawl = once(250, KAFKA_SLOTS=1)
    crawl.server.latency = 0.1
    first = crawl.start()
    until(lambda: crawl.settled() > 20, "nothing is settled", 60)
    crawl.server.may_answer.clear()
    second = crawl.start()
    until(lambda: crawl.workers() == 2, "the second does not come")
    assert crawl.held_by_others() == 0
    first.kill()
    first.communicate()
    crawl.server.latency = 0.0
    crawl.server.may_answer.set()
    _, err = second.communicate(timeout=90)
    assert second.returncode == 0, err[-2000:]
    crawl.check()


def test_a_worker_that_is_asked_to_end_commits_what_it_has(once: Start) -> None:
    crawl = once(400)
    crawl.server.latency = 0.05
    worker = crawl.start()
    until(lambda: crawl.settled() > 60, "nothing is settled", 60)
    worker.terminate()
    _, err = worker.communicate(timeout=30)
    assert worker.returncode == 0, err[-2000:]
    assert crawl.leased() == 0
    assert not crawl.prepared()
    assert len(crawl.products()) == crawl.counts()["delivered"]
    crawl.run()
    crawl.check()


@pytest.mark.parametrize(
    ("settings", "code", "told"),
    [
        ({"KAFKA_DELIVERY": "twice"}, 2, "KAFKA_DELIVERY=twice: expected one of at_least_once, exactly_once"),
        ({"REDIS_URL": ""}, 1, "KAFKA_DELIVERY=exactly_once needs a frontier: set REDIS_URL"),
        ({"KAFKA_BOOTSTRAP_SERVERS": ""}, 1, "KAFKA_DELIVERY=exactly_once needs Kafka: set KAFKA_BOOTSTRAP_SERVERS"),
    ],
)
def test_what_it_needs_is_told_in_one_line(once: Start, settings: dict[str, str], code: int, told: str) -> None:
    crawl = once(1)
    crawl.seine.env.update(settings)
    finished = crawl.seine.run("crawl", "product_spider")
    assert finished.err.strip().splitlines()[-1].startswith(f"seine: {told}")
    assert finished.code == code
    assert "Traceback" not in finished.err


def test_a_crawl_keeps_the_delivery_that_it_was_opened_with(once: Start) -> None:
    crawl = once(400)
    crawl.server.latency = 0.1
    worker = crawl.start()
    until(crawl.settled, "it does not start", 60)
    crawl.server.may_answer.clear()
    refused = crawl.seine.run("crawl", "product_spider", "-s", "KAFKA_DELIVERY=at_least_once")
    assert refused.code == 2
    assert f"crawl {CRAWL} delivers exactly once: set KAFKA_DELIVERY=exactly_once" in refused.err
    assert worker.poll() is None


def test_slots_are_the_partitions_of_the_ledger(once: Start) -> None:
    crawl = once(1, broken_every=0)
    crawl.run()
    refused = crawl.seine.run("crawl", "product_spider", "-s", "KAFKA_SLOTS=8", "-s", "FRONTIER_CRAWL_ID=two")
    assert refused.code == 1
    assert f"{crawl.topic}.ledger has {SLOTS} partitions and KAFKA_SLOTS is 8: set KAFKA_SLOTS={SLOTS}" in refused.err


def test_a_ledger_that_is_behind_redis_ends_the_worker(once: Start) -> None:
    """Kafka went back in time: what was delivered cannot be told any more."""
    crawl = once(400)
    crawl.server.latency = 0.3
    with crawl.redis_server.client() as client:
        for slot in range(SLOTS):
            client.hset(f"{crawl.keys.shard(0)}:slot:{slot}", "offset", 1_000_000)
    worker = crawl.start()
    _, err = worker.communicate(timeout=60)
    assert worker.returncode == 1
    assert "delivery_error" in err
    assert "ledger behind redis" in crawl.log()


def test_workers_that_each_have_a_slot_of_another_shard_do_not_wait_for_each_other(once: Start) -> None:
    """One slot per shard: the second worker has none of the shard that has the requests."""
    crawl = once(150, FRONTIER_SHARDS=SLOTS)
    crawl.server.latency = 0.1
    workers = [crawl.start(), crawl.start()]
    for worker in workers:
        _, err = worker.communicate(timeout=90)
        assert worker.returncode == 0, err[-2000:]
    crawl.check()


def test_the_requests_of_a_worker_whose_slots_are_taken_return_to_the_frontier(once: Start) -> None:
    crawl = once(150)
    crawl.server.latency = 0.1
    worker = crawl.start()
    until(lambda: crawl.settled() > 30, "nothing is settled", 60)
    crawl.take_slots(3600)
    until(lambda: "no slot: requests return" in crawl.log(), "they stay with it", 10 * LEASE_SECONDS)
    crawl.take_slots(0)
    _, err = worker.communicate(timeout=90)
    assert worker.returncode == 0, err[-2000:]
    crawl.check()


def test_a_shard_without_requests_holds_nobody_up(once: Start) -> None:
    crawl = once(150, FRONTIER_SHARDS=2)
    crawl.run()
    crawl.check()


def test_three_brokers_of_which_one_after_another_is_killed(
    tmp_path: Path, once: Start, kafka_env: dict[str, str]
) -> None:
    with KafkaCluster(tmp_path / "brokers") as cluster:
        crawl = once(400, KAFKA_BOOTSTRAP_SERVERS=cluster.servers, KAFKA_REPLICATION_FACTOR=3)
        crawl.server.latency = 0.1
        workers = [crawl.start(), crawl.start()]
        for node, moment in ((1, 60), (2, 160), (3, 260)):
            until(lambda moment=moment: crawl.settled() > moment, f"{moment} are not settled", 90)
            cluster.kill(node)
            cluster.wait_for(2)
            cluster.start(node)
            cluster.wait_for(3)
        for worker in workers:
            _, err = worker.communicate(timeout=120)
            assert worker.returncode == 0, err[-2000:]
        crawl.check()


def test_a_failover_of_redis_with_replicas_that_are_waited_for(tmp_path: Path, once: Start) -> None:
    with SentinelFleet(tmp_path / "sentinels", replicas=2, sentinels=3) as redis:
        crawl = once(300, redis=redis.servers[0], REDIS_SENTINELS=redis.addresses, FRONTIER_WAIT_REPLICAS=1)
        crawl.server.latency = 0.1
        workers = [crawl.start(), crawl.start()]
        until(lambda: crawl.settled() > 80, "nothing is settled", 60)
        died = redis.master
        died.kill()
        until(lambda: redis.master is not died, "no failover", 60)
        crawl.redis_server = redis.master
        for worker in workers:
            _, err = worker.communicate(timeout=120)
            assert worker.returncode == 0, err[-2000:]
        crawl.check()


def test_whatever_is_killed_stopped_or_rolled_back_every_record_is_there_once(
    once: Start, kafka_stack: Stack, redis_on_disk: RedisServer
) -> None:
    """`make chaos` is the long form."""
    print(f"seed {SEED}")
    crawl = once(PAGES, redis=redis_on_disk)
    crawl.server.latency = 0.15
    chaos = Chaos(crawl, kafka_stack, SEED)
    counts = chaos.run(DISTURBANCES)
    fetched = len(crawl.server.visits)
    print(f"{PAGES} pages, {dict(chaos.done)}; {counts.get('lost', 0)} lost leases, {fetched - PAGES} fetched again")


assert TRANSACTION_TIMEOUT > LEASE_SECONDS, "a stopped worker's transaction outlives its leases"


def test_what_a_killed_worker_had_committed_is_remembered_and_nothing_else(once: Start) -> None:
    """With EMIT=changes: what was told is not told again, and what was not is not lost."""
    crawl = once(300, EMIT="changes")
    crawl.server.latency = 0.03
    for least in (40, 100, 160):
        killed = crawl.start()
        until(lambda least=least: crawl.settled() > least, "nothing is settled", 60)
        killed.kill()
        killed.communicate()
    crawl.server.latency = 0
    crawl.run()
    crawl.check()
    told = crawl.products()
    assert {record.value["change"] for record in told} == {"new"}
    crawl.run(FRONTIER_CRAWL_ID="next")
    assert len(crawl.products()) == len(told)

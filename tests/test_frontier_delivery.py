"""The promise as a whole: what was on its way when workers or Kafka died is on the topic in the end."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from crawlers.frontier.keys import Keys
from deploy.demo_shop import DemoShop
from deploy.local import Stack
from tests.polling import until
from tests.servers.redis import RedisServer
from tests.support import Finished, Seine, consume

LEASE_SECONDS = 2


@pytest.fixture
def worker(seine: Seine, sites: Path, shop: DemoShop, redis_server: RedisServer) -> Callable[[], subprocess.Popen[str]]:
    """Starts workers of one crawl of the demo shop, to Kafka."""
    seine.env |= {"REDIS_URL": redis_server.url, "FRONTIER_NAMESPACE": f"test-{secrets.token_hex(4)}"}
    (sites / "demo.toml").write_text(shop.site_toml())
    options = {"FRONTIER_CRAWL_ID": "one", "FRONTIER_LEASE_SECONDS": LEASE_SECONDS, "CRAWL_DELAY_LONGEST": 0}

    def start() -> subprocess.Popen[str]:
        log = seine.folder / f"worker-{secrets.token_hex(2)}.log"
        words = [part for name, value in options.items() for part in ("-s", f"{name}={value}")]
        return seine.start("crawl", "product_spider", *words, "-s", f"LOG_FILE={log}")

    return start


def counts(seine: Seine, redis_server: RedisServer) -> dict[str, int]:
    root = Keys(seine.env["FRONTIER_NAMESPACE"], "product_spider").crawl(0, "one")
    return {name.decode(): int(n) for name, n in redis_server.client().hgetall(f"{root}:counts").items()}


def ended(process: subprocess.Popen[str]) -> Finished:
    out, err = process.communicate(timeout=90)
    return Finished(process.returncode, out, err)


def check(seine: Seine, shop: DemoShop, redis_server: RedisServer) -> int:
    """Every product is on the topic, none but products; returns how many records there are twice."""
    truth = {row["url"] for row in shop.truth() if row["reachable"] and row["markup"] != "visible"}
    records = consume(seine.env, seine.env["KAFKA_TOPIC_PRODUCTS"])
    assert {record.value["canonical_url"] for record in records} == truth
    found = counts(seine, redis_server)
    assert found["pending"] == 0
    assert found["seeded"] + found["discovered"] == sum(
        found.get(term, 0) for term in ("delivered", "expanded", "redirected", "empty", "filtered", "dead")
    )
    assert len({record.headers["record_id"] for record in records}) == found["delivered"]
    return len(records) - found["delivered"]


def test_a_killed_workers_products_are_all_delivered(
    seine: Seine, shop: DemoShop, redis_server: RedisServer, worker: Callable[[], subprocess.Popen[str]]
) -> None:
    first = worker()
    until(lambda: counts(seine, redis_server).get("delivered", 0) > 50, "nothing is delivered")
    first.kill()
    first.communicate()
    finished = ended(worker())
    assert finished.code == 0, finished.err[-2000:]
    assert check(seine, shop, redis_server) <= counts(seine, redis_server)["lost"]


def test_what_a_worker_held_when_kafka_and_then_it_died_is_delivered_by_another(
    seine: Seine,
    shop: DemoShop,
    redis_server: RedisServer,
    kafka_stack: Stack,
    worker: Callable[[], subprocess.Popen[str]],
) -> None:
    first = worker()
    until(lambda: counts(seine, redis_server).get("delivered", 0) > 50, "nothing is delivered")
    kafka_stack.down(services=["kafka"])
    try:
        until(lambda: held(seine, redis_server) >= 8, "nothing waits for Kafka")
        first.kill()
        first.communicate()
    finally:
        kafka_stack.up(["kafka"])
    finished = ended(worker())
    assert finished.code == 0, finished.err[-2000:]
    check(seine, shop, redis_server)


def held(seine: Seine, redis_server: RedisServer) -> int:
    redis, shard = redis_server.client(), Keys(seine.env["FRONTIER_NAMESPACE"], "product_spider").shard(0)
    return sum(redis.scard(key) for key in redis.scan_iter(f"{shard}:held:*"))

"""The audit trail when things fail: workers are killed, Kafka is away, an event is refused."""

from __future__ import annotations

import secrets
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crawlers.frontier.keys import Keys
from deploy.demo_shop import DemoShop
from deploy.local import Stack
from tests.audit import by_path, events_of, of
from tests.exactly_once import OnceCrawl
from tests.fleet import FrontierSeine, links
from tests.polling import until
from tests.product_tree import HUGE, ProductTree
from tests.servers.redis import RedisServer
from tests.servers.web import Page, WebServer
from tests.support import Seine, own_topics
from tests.topics import admin_of, create_topic


def test_a_settled_request_has_its_event_whoever_was_killed(
    seine: Seine, sites: Path, shop: DemoShop, redis_server: RedisServer
) -> None:
    seine.env |= {"REDIS_URL": redis_server.url, "FRONTIER_NAMESPACE": f"test-{secrets.token_hex(4)}"}
    (sites / "demo.toml").write_text(shop.site_toml())
    fleet = FrontierSeine(seine.folder, seine.env, redis_server.client())
    options = {"FRONTIER_CRAWL_ID": "one", "FRONTIER_LEASE_SECONDS": 2, "CRAWL_DELAY_LONGEST": 0}
    words = [part for name, value in options.items() for part in ("-s", f"{name}={value}")]

    def settled() -> int:
        counts = counts_of(fleet, "product_spider")
        return sum(counts.get(term, 0) for term in ("delivered", "expanded"))

    for enough in (40, 110):
        worker = fleet.start("crawl", "product_spider", *words, "-s", f"LOG_FILE={seine.folder}/{enough}.log")
        until(lambda enough=enough: settled() > enough, "nothing is settled")
        worker.kill()
        worker.communicate()
    last = fleet.run("crawl", "product_spider", *words)
    assert last.code == 0, last.err[-2000:]

    counts = counts_of(fleet, "product_spider")
    newest: dict[str, dict[str, Any]] = {}
    for record in events_of(fleet):
        if record.value["outcome"] != "retried":
            before = newest.get(record.key)
            newest[record.key] = (
                record.value if before is None else max(before, record.value, key=lambda e: e["ended_at"])
            )
    told = Counter(event["outcome"] for event in newest.values())
    reasons = Counter(event["reason"] for event in newest.values() if event["outcome"] == "filtered")
    for term in ("delivered", "expanded", "redirected", "empty", "dead"):
        assert told[term] == counts.get(term, 0), term
    assert reasons == {
        name.partition(":")[2]: number
        for name, number in counts.items()
        if name.startswith("filtered:") and name not in NEVER_REQUESTS and number
    }


NEVER_REQUESTS = ("filtered:page limit", "filtered:offsite", "filtered:depth", "filtered:url length")


def counts_of(fleet: FrontierSeine, spider: str) -> dict[str, int]:
    root = Keys(fleet.env["FRONTIER_NAMESPACE"], spider).crawl(0, "one")
    return {name.decode(): int(n) for name, n in fleet.redis.hgetall(f"{root}:counts").items()}


def test_nothing_is_settled_and_little_is_started_while_kafka_is_away(
    audited: FrontierSeine,
    offline: Seine,
    kafka_env: dict[str, str],
    kafka_stack: Stack,
    web: Callable[..., WebServer],
) -> None:
    """With a frontier, without one, and with one worker that has to end. Page 21 waits until Kafka is away."""
    is_away = threading.Event()

    def later(_: int) -> Page:
        assert is_away.wait(60)
        return links("/")

    paths = [f"/n{number}" for number in range(120)]
    pages = {"/": links(*paths)} | {path: links("/") if at < 20 else later for at, path in enumerate(paths)}
    servers = [web(dict(pages)) for _ in range(3)]
    plain, ended_early = (Seine(offline.folder, {**offline.env, **kafka_env, **own_topics()}) for _ in range(2))
    limits = {"SINK_HIGH_WATER_RECORDS": 8, "CONCURRENT_REQUESTS": 4, "CONCURRENT_REQUESTS_PER_DOMAIN": 4}

    def start(seine: Seine, server: WebServer, **settings: Any) -> subprocess.Popen[str]:
        words = audited.options(**limits, **settings)
        return seine.start("crawl", "path_spider", "-a", f"url={server.url}/", *words)

    workers = [start(seine, server) for seine, server in zip((audited, plain), servers, strict=False)]
    workers.append(start(ended_early, servers[2], KAFKA_DRAIN_TIMEOUT=1))
    for server in servers:
        server.wait_for(22)
    kafka_stack.down(services=["kafka"])
    try:
        is_away.set()
        assert all(22 < number < 60 for number in standing_still(servers))
        workers[2].terminate()
        _, err = workers[2].communicate(timeout=60)
        assert workers[2].returncode == 1
        assert "undelivered" in err
    finally:
        kafka_stack.up(["kafka"])
    for worker, seine in zip(workers, (audited, plain), strict=False):
        _, err = worker.communicate(timeout=90)
        assert worker.returncode == 0, err[-3000:]
        events = events_of(seine)
        assert {event.value["outcome"] for event in events} == {"expanded"}
        assert len({event.key for event in events}) == 121


def standing_still(servers: list[WebServer]) -> list[int]:
    """The numbers of visits, once none of them has grown for two seconds."""
    since = time.monotonic()
    until(
        lambda: time.monotonic() > max(since, *(server.visits[-1].at for server in servers)) + 2,
        "the servers are asked on and on",
    )
    return [len(server.visits) for server in servers]


def test_an_event_that_kafka_refuses_holds_nothing_up(audited: FrontierSeine, web: Callable[..., WebServer]) -> None:
    create_topic(admin_of(audited.env), audited.env["KAFKA_TOPIC_PAGES"], **{"max.message.bytes": "100"})
    server = web({"/": links("/x"), "/x": Page("x")})
    ended = audited.crawl_from(server, "/")
    assert ended.finished.code == 0, ended.finished.err[-3000:]
    assert ended.of("expanded", "empty", "pending") == {"expanded": 1, "empty": 1, "pending": 0}
    assert len(ended.finished.events("audit event rejected")) == 2


def test_a_request_whose_event_fits_no_schema_is_settled(audited: FrontierSeine, web: Callable[..., WebServer]) -> None:
    """Its spider wrote a number where a label belongs."""
    ended = audited.crawl_from(web({"/": links("/odd"), "/odd": Page("x")}), "/")
    assert ended.finished.code == 0, ended.finished.err[-3000:]
    assert ended.of("expanded", "empty") == {"expanded": 1, "empty": 1}
    [event] = ended.finished.events("audit event rejected")
    assert "proxy" in event["error"]
    assert set(by_path(events_of(audited))) == {"/"}


# --- Exactly once


def test_events_are_committed_once_with_their_requests_records(
    tmp_path: Path, kafka_env: dict[str, str], redis_server: RedisServer, web: Callable[..., WebServer]
) -> None:
    """One worker is killed, every tenth product is a dead letter, and one is refused by the broker."""
    pages, topics = 80, own_topics()
    server = web(ProductTree(pages, broken_every=10, huge=(7,)))
    crawl = OnceCrawl(tmp_path, kafka_env, redis_server, server, KAFKA_TOPIC_PAGES=topics["KAFKA_TOPIC_PAGES"])
    create_topic(admin_of(kafka_env), crawl.topic, **{"max.message.bytes": str(HUGE // 8)})
    first = crawl.start(DOWNLOAD_DELAY=0.02)
    until(lambda: crawl.settled() > 20, "nothing is settled")
    first.kill()
    first.communicate()
    crawl.run()
    counts = crawl.check()

    events = [record.value for record in events_of(crawl.seine)]
    assert Counter(event["outcome"] for event in events) == {"delivered": counts["delivered"], "dead": counts["dead"]}
    assert len({event["fingerprint"] for event in events}) == len(events) == pages
    told = {event["url"].rpartition("-")[2]: event for event in events}
    assert of(told["7"], "outcome", "reason") == ("dead", "item")
    assert of(told["10"], "outcome", "reason") == ("dead", "item")
    ids = {record.headers["record_id"] for record in (*crawl.products(), *crawl.letters())}
    assert {one for event in events for one in event["record_ids"]} == ids
    assert told["8"]["delivery_ms"] is None

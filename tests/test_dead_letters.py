"""Dead letters of real crawls, on a real Kafka and Redis: every stage leaves one, and none is ever dropped."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import pytest

from pipelines.claims.resolver import Resolver
from tests.fleet import TERMS, FrontierSeine, links
from tests.frontier_console import Scene, request_for
from tests.frontier_shard import settle
from tests.letters import Letters, product
from tests.polling import PATIENCE, until
from tests.servers.web import Page, WebServer
from tests.support import Seine
from tests.topics import admin_of, create_topic, delete_topic


def test_every_stage_leaves_a_letter_that_says_what_and_why(letters: Letters, web: Callable[..., WebServer]) -> None:
    server = web(
        {
            "/": links("/good", "/invalid", "/odd", "/broken", "/large", "/none", "/down"),
            "/good": product("good"),
            "/invalid": product("invalid", offers={"price": "5"}),
            "/odd": product("odd"),
            "/broken": product("broken"),
            "/large": product("large"),
            "/down": Page("no", 500),
        }
    )
    crawl = letters.crawl(server, RETRY_TIMES=1)
    assert crawl.code == 0, crawl.err[-3000:]

    found = {letter.headers["url"].rpartition("/")[2]: letter for letter in letters.read()}
    told = {path: (one.headers["stage"], one.headers["error"], one.headers["kind"]) for path, one in found.items()}
    assert told == {
        "invalid": ("validation", "InvalidItem", "item"),
        "odd": ("serialization", "UnserializableItem", "item"),
        "broken": ("pipeline", "ValueError", "item"),
        "large": ("delivery", "RejectedRecord", "item"),
        "none": ("download", "http 404", "request"),
        "down": ("download", "http 500", "request"),
    }
    assert found["down"].headers["attempt"] == "2"
    assert found["down"].key == f"shop/{server.url}/down"
    request = {"url": f"{server.url}/down", "errback": "on_error", "meta": {"site": "shop", "depth": 1}}
    assert found["down"].value == {**request, "priority": -1, "headers": {"Referer": [f"{server.url}/"]}}

    item, headers = found["invalid"].value, found["invalid"].headers
    assert found["invalid"].key == f"shop/{server.url}/invalid"
    assert (item["name"], item["price"], item["currency"]) == ("invalid", "5", None)
    assert headers["record_id"] == item["record_id"]
    assert headers["schema_subject"] == f"{letters.seine.env['KAFKA_TOPIC_PRODUCTS']}-value"
    assert headers["__connect.errors.stage"] == "VALIDATION"
    assert headers["__connect.errors.exception.class.name"] == "InvalidItem"
    assert "currency: expected one with price" in headers["__connect.errors.exception.message"]
    assert found["large"].value["size"] > 900_000
    assert len({one.headers["letter_id"] for one in found.values()}) == len(found)


def test_letters_are_committed_with_their_requests_where_delivery_is_exactly_once(
    letters: Letters, web: Callable[..., WebServer]
) -> None:
    pages = {"/": links("/good", "/invalid", "/large", "/none"), "/good": product("good"), "/large": product("large")}
    server = web(pages | {"/invalid": product("invalid", offers={"price": "5"})})
    ledger = f"{letters.topic}.ledger"
    crawl = letters.crawl(server, KAFKA_DELIVERY="exactly_once", KAFKA_TOPIC_LEDGER=ledger, KAFKA_SLOTS=2)
    assert crawl.code == 0, crawl.err[-3000:]
    found = {letter.headers["url"].rpartition("/")[2]: letter.headers for letter in letters.read(committed=True)}
    stages = {path: headers["stage"] for path, headers in found.items()}
    assert stages == {"invalid": "validation", "large": "delivery", "none": "download"}
    assert len(letters.read()) == 3, "none is written again, from the outbox"
    assert {headers["request_id"] for headers in found.values()} == {id_.hex() for id_ in letters.dead()}
    assert not crawl.events("dead letters written")


def test_a_letter_that_is_too_large_for_kafka_is_claimed(
    letters: Letters, web: Callable[..., WebServer], tmp_path: Path
) -> None:
    server = web({"/": links("/large"), "/large": product("large")})
    letters.seine.env["CLAIM_CHECK_URL"] = f"file://{tmp_path}/claims"
    (tmp_path / "claims").mkdir()
    letters.crawl(server)
    [letter] = letters.read()
    assert letter.headers["ce_dataref"] == letter.value["uri"]
    item = json.loads(Resolver([letters.seine.env["CLAIM_CHECK_URL"]]).resolve(letter.value))
    assert (item["name"], len(item["description"])) == ("large", 1_100_000)

    shown = letters.seine.run("dlq", "show", letter.headers["letter_id"])
    assert f"scrapyclaimsget{letter.value['sha256']}" in "".join(shown.out.split())
    replayed = letters.seine.run("dlq", "replay")
    assert "1 dead again" in replayed.out, replayed.err
    [again] = [one for one in letters.read() if one.headers["replays"] == "1"]
    assert again.headers["stage"] == "validation", "the description is longer than it may be"


def test_a_letter_is_known_by_the_same_id_however_often_its_crawl_writes_it(
    letters: Letters, web: Callable[..., WebServer]
) -> None:
    server = web({"/": links("/invalid", "/none"), "/invalid": product("invalid", offers={"price": "5"})})
    for name in ("one", "two"):  # a frontier that has forgotten everything
        letters.seine.env["FRONTIER_NAMESPACE"] += name
        letters.crawl(server, FRONTIER_CRAWL_ID="monday")
    ids = [letter.headers["letter_id"] for letter in letters.read()]
    assert len(ids) == 4
    assert len(set(ids)) == 2


def test_the_frontier_and_the_topic_agree_on_what_is_dead(letters: Letters, web: Callable[..., WebServer]) -> None:
    letters.crawl(web({"/": links(*(f"/{n}" for n in range(8)))}))
    assert {letter.headers["request_id"] for letter in letters.read()} == {id_.hex() for id_ in letters.dead()}


def test_any_spiders_errors_and_items_leave_letters_of_their_requests(
    letters: Letters, fleet: FrontierSeine, web: Callable[..., WebServer]
) -> None:
    server = web({"/": links("/error", "/item-broken"), "/error": Page("x"), "/item-broken": Page("x")})
    fleet.env |= letters.seine.env
    ended = fleet.crawl_from(server, "/")
    found = {letter.headers["stage"]: letter for letter in letters.read()}
    assert sorted(found) == ["pipeline", "spider"]
    error = found["spider"]
    assert (error.headers["error"], error.headers["__connect.errors.exception.message"]) == ("RuntimeError", "as asked")
    assert (error.value["url"], error.value["callback"]) == (f"{server.url}/error", "parse")
    item = found["pipeline"]
    assert item.value == {"fate": "broken"}
    assert (item.headers["url"], item.headers["spider"]) == (f"{server.url}/item-broken", "path_spider")
    assert item.headers["crawl_id"] == error.headers["crawl_id"]
    assert ended.dead == {"/error": ["RuntimeError"], "/item-broken": ["item"]}


def test_without_redis_a_failed_request_leaves_a_letter_too(seine: Seine, web: Callable[..., WebServer]) -> None:
    server = web({})
    assert seine.crawl("-a", f"urls={server.url}/none,{server.url}/gone", RETRY_TIMES=0, ROBOTSTXT_OBEY=0).code == 1
    found = Letters(seine).read()
    assert {letter.headers["url"] for letter in found} == {f"{server.url}/none", f"{server.url}/gone"}
    assert {letter.headers["error"] for letter in found} == {"http 404"}
    assert found[0].value["errback"] == "on_error"


def test_without_kafka_nothing_waits_for_letters(fleet: FrontierSeine, web: Callable[..., WebServer]) -> None:
    ended = fleet.crawl_from(web({"/": links("/none")}), "/")
    assert ended.finished.code == 0
    assert ended.dead == {"/none": ["http 404"]}


# --- Where no worker sees the end


def test_what_dies_in_the_queue_has_its_letters_before_the_crawl_is_complete(letters: Letters, nowhere: str) -> None:
    scene = Scene(letters.fleet)
    scene.crawl("monday")
    requests = [request_for(f"http://{nowhere}/{n}") for n in range(5)]
    requests = [one._replace(data=msgpack.packb([one.data.decode()])) for one in requests]
    corrupt = request_for("http://other.example/")
    scene.worker("monday").enqueue(*requests, corrupt)

    one_failure = {"RETRY_TIMES": 0, "BREAKER_FAILURES": 1, "BREAKER_OPENINGS": 1, "CONCURRENT_REQUESTS_PER_DOMAIN": 1}
    crawl = letters.seine.crawl(FRONTIER_CRAWL_ID="monday", ROBOTSTXT_OBEY=0, **one_failure)

    assert scene.state("monday") == ("complete", "complete"), crawl.err[-2000:]
    found = letters.read()
    errors = sorted((letter.headers["stage"], letter.headers["error"]) for letter in found)
    assert errors == [
        ("download", "DownloadConnectionRefusedError"),
        ("frontier", "corrupt request"),
        *[("frontier", "domain down")] * 4,
    ]
    [letter] = [letter for letter in found if letter.headers["error"] == "corrupt request"]
    assert letter.value == corrupt.data.decode()
    assert letter.headers["content-type"] == "application/octet-stream"


def test_a_request_that_kills_its_workers_has_its_letter(letters: Letters, web: Callable[..., WebServer]) -> None:
    server = web({"/": links("/deadly"), "/deadly": Page("x")})
    options = ("-s", "FRONTIER_LEASE_SECONDS=1", "-s", "FRONTIER_LOST_TIMES=1", "-s", "ROBOTSTXT_OBEY=0")
    site = letters.site(server)
    server.latency = 0.2
    first = letters.seine.start("crawl", "product_spider", "-a", f"sites={site}", *options)
    server.wait_for(1)
    server.latency = 60
    server.wait_for(2)
    until(lambda: letters.counts().get("expanded"), "its first page is not settled")
    first.kill()
    first.communicate()
    second = letters.seine.run("crawl", "product_spider", "-a", f"sites={site}", *options)
    assert second.code == 0, second.err[-2000:]
    [letter] = letters.read()
    assert (letter.headers["stage"], letter.headers["error"]) == ("frontier", "worker lost")
    assert letter.value["url"] == f"{server.url}/deadly"


def test_a_crawl_is_not_complete_before_a_worker_with_kafka_has_written_its_letters(letters: Letters) -> None:
    scene = Scene(letters.fleet)
    crawl = scene.crawl("monday")
    crawl.letters("expect")
    scene.worker("monday").enqueue(request_for("http://other.example/"))
    offline = Seine(
        letters.seine.folder, {**letters.seine.env, "KAFKA_BOOTSTRAP_SERVERS": "", "SCHEMA_REGISTRY_URL": ""}
    )
    log = letters.seine.folder / "worker.log"
    worker = offline.start(
        "crawl", "product_spider", "-s", "FRONTIER_CRAWL_ID=monday", "-s", f"LOG_FILE={log}", "-s", "ROBOTSTXT_OBEY=0"
    )
    until(lambda: log.exists() and "start a worker with KAFKA_BOOTSTRAP_SERVERS" in log.read_text(), "it is not told")
    assert scene.state("monday")[0] == "running"

    assert letters.seine.crawl(FRONTIER_CRAWL_ID="monday", ROBOTSTXT_OBEY=0).code == 1, "all of the crawl is dead"
    assert worker.wait(30) == 1
    assert [letter.headers["error"] for letter in letters.read()] == ["corrupt request"]


def test_a_letter_that_cannot_be_made_keeps_no_other_from_being_written_and_ends_no_worker(letters: Letters) -> None:
    scene = Scene(letters.fleet)
    crawl, dying = scene.crawl("monday"), scene.worker("monday")
    crawl.letters("expect")
    dying.enqueue(*(request_for(f"http://other.example/{number}") for number in range(3)))
    bad, *others = dying.lease()
    dying.settle(*(settle(lease, "dead", "corrupt request") for lease in (bad, *others)))
    row = msgpack.unpackb(scene.redis.hget(f"{crawl.root}:dead", bad.id), raw=True)
    scene.redis.hset(f"{crawl.root}:dead", bad.id, msgpack.packb([b"\xff", *row[1:]], use_bin_type=False))

    log = letters.seine.folder / "worker.log"
    options = ("-s", "FRONTIER_CRAWL_ID=monday", "-s", f"LOG_FILE={log}", "-s", "FRONTIER_LEASE_SECONDS=2")
    worker = letters.seine.start("crawl", "product_spider", *options)
    until(lambda: log.exists() and log.read_text().count("dead letter failed") == 2, "it is not tried again")
    assert {letter.headers["request_id"] for letter in letters.read()} == {lease.id.hex() for lease in others}
    assert worker.poll() is None

    scene.redis.hset(f"{crawl.root}:dead", bad.id, msgpack.packb(row, use_bin_type=False))
    assert worker.wait(30) == 1, "all of the crawl is dead"
    assert len(letters.read()) == 3


# --- A topic that cannot be written


@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
def test_while_letters_cannot_be_written_nothing_is_leased_and_nothing_is_lost(
    letters: Letters, web: Callable[..., WebServer], delivery: str
) -> None:
    is_deleted = threading.Event()

    def none(_: int) -> Page:
        is_deleted.wait(PATIENCE)
        return Page("not here", 404)

    pages: dict[str, Any] = {"/": links(*(f"/none-{n}" for n in range(4)), *(f"/late-{n}" for n in range(200)))}
    pages |= {f"/none-{n}": none for n in range(4)}
    server = web(pages | {f"/late-{n}": product(f"late-{n}") for n in range(200)})
    site = letters.site(server, concurrency=2)
    admin = admin_of(letters.seine.env)
    log = letters.seine.folder / "worker.log"
    worker = letters.seine.start(
        *("crawl", "product_spider", "-a", f"sites={site}", "-s", f"LOG_FILE={log}", "-s", "ROBOTSTXT_OBEY=0"),
        *("-s", "DEPTH_PRIORITY=0", "-s", "FRONTIER_PREFETCH=2"),
        *("-s", f"KAFKA_DELIVERY={delivery}", "-s", "KAFKA_SLOTS=1", "-s", "KAFKA_TRANSACTION_TIMEOUT=4"),
        *("-s", f"KAFKA_TOPIC_LEDGER={letters.topic}.ledger"),
    )
    server.latency = 0.3
    server.wait_for(2)
    delete_topic(admin, letters.topic)
    is_deleted.set()
    until(lambda: "dead letters cannot be written: leasing pauses" in log.read_text(), log.read_text)
    before = len(server.visits)
    server.latency = 0
    until(lambda: letters.leased() == len(server.visits) - settled(letters), "leases are still taken")
    assert len(server.visits) - before < 50
    assert not letters.dead(), "what has no letter is not dead"

    create_topic(admin, letters.topic)
    _, err = worker.communicate(timeout=60)
    assert worker.returncode == 0, err[-2000:]
    assert "dead letters are written again" in log.read_text()
    assert len(letters.read(committed=True)) == len(letters.dead()) == 4
    assert server.times["/late-199"] == 1
    assert letters.counts()["delivered"] == 200


def settled(letters: Letters) -> int:
    """Requests that have an outcome."""
    counts = letters.counts()
    return sum(counts.get(term, 0) for term in TERMS if term != "pending")


def test_letters_hold_no_more_than_rules_let_them(letters: Letters, web: Callable[..., WebServer]) -> None:
    server = web({"/": links("/none?user=jane@shop.example&token=secret", "/invalid"), "/invalid": jane()})
    letters.crawl(server, MASKING_PATTERNS="email=mask", MASKING_QUERY="token=drop")
    found = {letter.headers["kind"]: letter for letter in letters.read()}
    request, item = found["request"], found["item"]
    assert request.headers["url"] == request.value["url"] == f"{server.url}/none?user=*email*&token="
    assert request.key == f"shop/{server.url}/none?user=*email*&token="
    assert request.headers["masked"] == "1"
    assert item.value["description"] == "Ask *email*"
    for letter in found.values():
        assert "jane" not in json.dumps([letter.key, letter.value, letter.headers])
        assert "secret" not in json.dumps([letter.key, letter.value, letter.headers])
    [url] = [url for url in letters.dead().values() if "none" in url]
    assert url.endswith("?user=jane@shop.example&token=secret"), "the frontier can still fetch it"


def jane() -> Page:
    return product("invalid", description="Ask jane@shop.example", offers={"price": "5"})

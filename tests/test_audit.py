"""The audit trail: what becomes of every attempt at a request is on its topic before the request is settled."""

from __future__ import annotations

import json
import secrets
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer as Client
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from confluent_kafka.schema_registry import SchemaRegistryClient
from scrapy import Request
from scrapy.settings import Settings
from scrapy.utils.request import fingerprint

from crawlers.audit_history import TrailSearch
from crawlers.audit_sample import AuditSample
from crawlers.exceptions import UserError
from crawlers.frontier.keys import Keys
from crawlers.records_by_key import KeyReader
from deploy.demo_shop import DemoShop
from deploy.local import Stack
from pipelines.partitions import partition_of
from tests.exactly_once import OnceCrawl
from tests.fleet import FrontierSeine, links
from tests.frontier_console import Console
from tests.polling import until
from tests.product_tree import HUGE, ProductTree
from tests.servers.redis import RedisServer
from tests.servers.web import Page, WebServer
from tests.support import Consumed, Finished, Seine, consume, own_topics
from tests.test_delivery import java_partition

PHASES = ("frontier_ms", "queue_ms", "connect_ms", "first_byte_ms", "download_ms", "callback_ms", "delivery_ms")


@pytest.fixture
def audited(fleet: FrontierSeine, kafka_env: dict[str, str]) -> FrontierSeine:
    """Crawls with a frontier and an audit trail of their own."""
    fleet.env |= kafka_env | own_topics()
    return fleet


def events_of(seine: Seine) -> list[Consumed]:
    return consume(seine.env, seine.env["KAFKA_TOPIC_PAGES"])


def by_path(records: list[Consumed]) -> dict[str, list[dict[str, Any]]]:
    """The events of each path, by attempt."""
    found: dict[str, list[dict[str, Any]]] = {}
    for record in sorted(records, key=lambda one: one.value["attempt"]):
        path = "/" + record.value["url"].partition("//")[2].partition("/")[2]
        found.setdefault(path, []).append(record.value)
    return found


def of(event: Mapping[str, Any], *names: str) -> tuple[Any, ...]:
    return tuple(event[name] for name in names)


# --- Events


def test_every_outcome_has_its_event(audited: FrontierSeine, web: Callable[..., WebServer]) -> None:
    server = web(
        {
            "/robots.txt": Page("User-agent: *\nDisallow: /secret"),
            "/": links(
                *(
                    "/item-good",
                    "/item-dropped",
                    "/item-broken",
                    "/error",
                    "/moved",
                    "/none",
                    "/empty",
                    "/down",
                    "/secret",
                )
            ),
            "/item-good": Page("x"),
            "/item-dropped": Page("x"),
            "/item-broken": Page("x"),
            "/error": Page("x"),
            "/moved": Page(status=302, headers={"Location": "/target"}),
            "/target": Page("x"),
            "/empty": Page("12345"),
            "/down": Page("no", 500),
        }
    )
    ended = audited.crawl_from(server, "/", RETRY_TIMES=1, FRONTIER_CRAWL_ID="one", ROBOTSTXT_OBEY=1)
    assert ended.finished.code == 0, ended.finished.err[-3000:]
    found = by_path(records := events_of(audited))
    told = {
        path: [of(event, "outcome", "reason", "status", "error_class", "attempt") for event in events]
        for path, events in found.items()
    }
    assert told == {
        "/": [("expanded", None, 200, None, 1)],
        "/item-good": [("delivered", None, 200, None, 1)],
        "/item-dropped": [("filtered", "item", 200, None, 1)],
        "/item-broken": [("dead", "item", 200, None, 1)],
        "/error": [("dead", "RuntimeError", 200, "RuntimeError", 1)],
        "/moved": [("redirected", None, 302, None, 1)],
        "/target": [("empty", None, 200, None, 1)],
        "/none": [("dead", "http 404", 404, None, 1)],
        "/empty": [("empty", None, 200, None, 1)],
        "/down": [("retried", "http 500", 500, None, 1), ("dead", "http 500", 500, None, 2)],
        "/secret": [("filtered", "robots", None, "IgnoreRequest", 1)],
    }, "robots.txt is no request of the crawl"
    assert ended.of("retried", "dead", "delivered") == {"retried": 1, "dead": 4, "delivered": 1}
    [root], [moved], [empty], [good] = found["/"], found["/moved"], found["/empty"], found["/item-good"]
    assert (root["links"], good["items"], empty["bytes"]) == (9, 1, 5)
    assert moved["redirected_to"] == f"{server.url}/target"
    assert {of(event, "crawl_id", "spider", "domain") for events in found.values() for event in events} == {
        ("one", "path_spider", server.domain)
    }
    assert "Seine" in root["identity"]
    assert of(root, "proxy", "rendered_by", "site") == (None, None, None)
    [refused] = found["/secret"]
    assert of(refused, "first_byte_ms", "download_ms", "callback_ms") == (None, None, None), "nothing was fetched"
    _check_headers_and_keys(records)


def _check_headers_and_keys(records: list[Consumed]) -> None:
    """A page's events are in one partition, which its URL alone tells."""
    for record in records:
        value, headers = record.value, record.headers
        assert record.key == value["fingerprint"] == fingerprint(Request(value["url"]))[:8].hex()
        assert record.partition == java_partition(record.key.encode(), 6)
        assert headers["record_id"] == headers["ce_id"]
        assert (headers["crawl_id"], headers["spider"]) == (value["crawl_id"], value["spider"])
        assert headers["ce_type"] == "seine.page.fetched"
        assert headers["ce_source"] == f"/seine/{value['spider']}/{value['domain']}"
        assert headers["content-type"] == "application/avro"
    assert len({record.headers["record_id"] for record in records}) == len(records)


def test_the_phases_tell_where_the_time_went(audited: FrontierSeine, web: Callable[..., WebServer]) -> None:
    server = web({"/": links("/busy-0.3", "/x"), "/busy-0.3": Page("x"), "/x": Page("x")})
    server.latency = 0.2
    ended = audited.crawl_from(server, "/", CONCURRENT_REQUESTS_PER_DOMAIN=1)
    assert ended.finished.code == 0
    found = by_path(events_of(audited))
    [root], [busy], [other] = found["/"], found["/busy-0.3"], found["/x"]
    assert root["connect_ms"] > 0, "the first request has no connection yet"
    assert busy["connect_ms"] is other["connect_ms"] is None, "later ones use it again"
    assert all(200 <= event["first_byte_ms"] < 2000 for event in (root, busy, other))
    assert 300 <= busy["callback_ms"] < 2000
    assert max(busy["frontier_ms"], other["frontier_ms"]) > 200, "one of them had to wait for the other"
    assert all(event["delivery_ms"] is None for event in (root, busy, other)), "there was nothing to deliver"
    for event in (root, busy, other):
        assert all(event[name] is None or event[name] >= 0 for name in PHASES)


def test_a_crawl_without_a_frontier_is_audited_with_the_ids_of_its_records(seine: Seine, shop: DemoShop) -> None:
    product = next(row["url"] for row in shop.truth() if row["markup"] == "json-ld" and row["reachable"])
    trouble = f"{product.split('/p/')[0]}/trouble/503?first=9"
    finished = seine.crawl("-a", f"urls={product},{trouble}", RETRY_TIMES=1)
    assert finished.code == 0, finished.err[-2000:]
    [record] = consume(seine.env, seine.env["KAFKA_TOPIC_PRODUCTS"])
    events = sorted((event.value for event in events_of(seine)), key=lambda one: (one["url"], one["attempt"]))
    delivered, first, second = sorted(events, key=lambda one: one["url"] == trouble)
    assert of(delivered, "url", "outcome", "record_ids") == (product, "delivered", [record.value["record_id"]])
    assert delivered["delivery_ms"] > 0
    assert delivered["frontier_ms"] is None
    assert delivered["crawl_id"] == record.value["crawl_id"]
    assert [of(one, "outcome", "attempt", "status") for one in (first, second)][1] == ("dead", 2, 503)
    assert of(first, "outcome", "attempt") == ("retried", 1)

    table = seine.run("records", "tail", "--topic", seine.env["KAFKA_TOPIC_PAGES"])
    header, *lines = table.out.splitlines()
    assert header.split() == ["ended_at", "outcome", "reason", "status", "attempt", "bytes", "items", "links", "url"]
    assert any("delivered" in line and "200" in line for line in lines)


def test_an_empty_topic_is_no_audit_trail(seine: Seine, shop: DemoShop) -> None:
    product = next(row["url"] for row in shop.truth() if row["markup"] == "json-ld" and row["reachable"])
    seine.env["KAFKA_TOPIC_PAGES"] = ""
    before = SchemaRegistryClient({"url": seine.env["SCHEMA_REGISTRY_URL"]}).get_subjects()
    assert seine.crawl("-a", f"urls={product}").code == 0
    after = SchemaRegistryClient({"url": seine.env["SCHEMA_REGISTRY_URL"]}).get_subjects()
    assert {*after} - {*before} == {f"{seine.env['KAFKA_TOPIC_PRODUCTS']}-value"}


# --- What is not told


def test_an_event_tells_no_secret(audited: FrontierSeine, web: Callable[..., WebServer]) -> None:
    server = web({"/moved?session=def": moved_to("/t?key=ghi"), "/t?key=ghi": Page("x")})
    private = f"http://user:word@{server.domain}/private"
    server.pages["/?token=abc"] = links("/moved?session=def#part", private)
    ended = audited.crawl_from(server, "/?token=abc", AUDIT_QUERY_STRINGS=0)
    assert ended.of("expanded", "redirected", "empty", "dead") == dict.fromkeys(
        ("expanded", "redirected", "empty", "dead"), 1
    ), "Scrapy asks nobody who has to be told a password"
    records = events_of(audited)
    paths = ("/", "/moved", "/t", "/private")
    assert {record.value["url"] for record in records} == {server.url + path for path in paths}
    [moved] = by_path(records)["/moved"]
    assert moved["redirected_to"] == f"{server.url}/t"
    whole = json.dumps([[record.value, record.headers, record.key] for record in records], default=str)
    for secret in ("abc", "def", "ghi", "user", "word"):
        assert f"={secret}" not in whole
        assert f"{secret}@" not in whole
    with_query = fingerprint(Request(f"{server.url}/t?key=ghi"))[:8].hex()
    assert with_query in {record.key for record in records}, "who knows the whole URL finds its events"


def test_urls_are_masked_by_the_rules_of_their_site(seine: Seine, shop: DemoShop, sites: Path) -> None:
    (sites / "demo.toml").write_text(shop.site_toml() + '\n[masking.query]\nsession = "mask"\n')
    product = next(row["url"] for row in shop.truth() if row["markup"] == "json-ld" and row["reachable"])
    finished = seine.crawl("-a", f"urls={product}?session=abc&n=1")
    assert finished.code == 0, finished.err[-2000:]
    [event] = [record.value for record in events_of(seine)]
    assert of(event, "url", "site") == (f"{product}?session=*session*&n=1", "demo")
    assert event["fingerprint"] == fingerprint(Request(f"{product}?session=abc&n=1"))[:8].hex()


def moved_to(path: str) -> Page:
    return Page(status=302, headers={"Location": path})


# --- Sampling


def test_a_sample_is_chosen_by_outcome_and_fingerprint(audited: FrontierSeine, web: Callable[..., WebServer]) -> None:
    paths = [f"/n{number}" for number in range(60)]
    server = web({"/": links(*paths)} | {path: Page("x") for path in paths})
    ended = audited.crawl_from(server, "/", AUDIT_SAMPLE="expanded=0,empty=0.5")
    assert ended.of("expanded", "empty") == {"expanded": 1, "empty": 60}
    sample = AuditSample({"empty": 0.5})
    wanted = {url for path in paths if sample.takes("empty", fingerprint(Request(url := server.url + path)))}
    assert {record.value["url"] for record in events_of(audited)} == wanted
    assert 10 < len(wanted) < 50


def test_a_larger_sample_holds_the_smaller_one() -> None:
    prints = [secrets.token_bytes(20) for _ in range(4000)]
    tenth, half = ({p for p in prints if AuditSample({"dead": share}).takes("dead", p)} for share in (0.1, 0.5))
    assert tenth < half
    assert 250 < len(tenth) < 600
    assert 1700 < len(half) < 2300
    assert all(AuditSample({"dead": 0.1}).takes("empty", one) for one in prints)
    assert not any(AuditSample({"dead": 0}).takes("dead", one) for one in prints)


@pytest.mark.parametrize("part", ["dead", "dead=", "dead=2", "dead=-0.1", "dead=nan", "pending=1", "=1", "dead=1=1"])
def test_a_sample_that_is_wrong_is_refused(part: str) -> None:
    with pytest.raises(UserError, match="expected outcome=share"):
        AuditSample.read(["empty=0.5", part])


def test_a_wrong_sample_ends_the_start(seine: Seine) -> None:
    finished = seine.crawl("-a", "urls=http://127.0.0.1:1/", AUDIT_SAMPLE="deliverd=0.1")
    assert finished.code == 2
    [line] = [line for line in finished.err.splitlines() if line.startswith("seine:")]
    assert line.startswith("seine: AUDIT_SAMPLE=deliverd=0.1: expected outcome=share with one of delivered, expanded")


# --- When things fail


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
    topic = NewTopic(audited.env["KAFKA_TOPIC_PAGES"], 1, 1, config={"max.message.bytes": "100"})
    admin = AdminClient({"bootstrap.servers": audited.env["KAFKA_BOOTSTRAP_SERVERS"]})
    admin.create_topics([topic])[topic.topic].result()
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


# --- What `scrapy frontier why` makes of it


@pytest.fixture
def console(
    audited: FrontierSeine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Finished]:
    """`scrapy frontier` of that fleet, with its audit trail."""
    monkeypatch.setenv("SCRAPY_SETTINGS_MODULE", "crawlers.settings")
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")
    kafka = {name: value for name, value in audited.env.items() if name.startswith(("KAFKA_", "SCHEMA_"))}
    frontier = Console(audited.env, capsys)

    def run(*args: str, **settings: Any) -> Finished:
        return frontier(*args, "--spider", "path_spider", SPIDER_MODULES=["tests.spiders"], **{**kafka, **settings})

    return run


def test_why_reads_the_trail_when_redis_has_forgotten(
    audited: FrontierSeine, web: Callable[..., WebServer], console: Callable[..., Finished]
) -> None:
    def mended(earlier: int) -> Page:
        return Page("late", status=503 if earlier < 2 else 200)

    server = web({"/": links("/item-late"), "/item-late": mended})
    page = f"{server.url}/item-late"
    for name in ("one", "two"):
        server.times.clear()
        assert audited.crawl_from(server, "/", RETRY_TIMES=2, FRONTIER_CRAWL_ID=name).finished.code == 0

    known = json.loads(console("why", page, "--json").out)
    assert [trace["fate"] for trace in known["requests"]] == ["delivered"]
    assert "audit" not in known, "Redis knows: the topic is not read"

    forgotten = json.loads(console("why", page, "--json", FRONTIER_OUTCOME_SECONDS=0).out)
    assert (forgotten["crawl"], forgotten["requests"][0]["fate"]) == ("two", "forgotten")
    attempts = [of(event, "outcome", "attempt", "status") for event in forgotten["audit"]["events"]]
    assert attempts == [("retried", 1, 503), ("retried", 2, 503), ("delivered", 3, 200)]
    assert {event["crawl_id"] for event in forgotten["audit"]["events"]} == {"two"}

    for key in audited.redis.scan_iter(f"{audited.env['FRONTIER_NAMESPACE']}:*"):
        audited.redis.delete(key)
    gone = json.loads(console("why", page, "--json").out)
    assert (gone["crawl"], gone["requests"]) == (None, [])
    assert gone["audit"]["events"] == forgotten["audit"]["events"]

    of_one = json.loads(console("why", page, "--crawl", "one", "--json").out)["audit"]["events"]
    assert {event["crawl_id"] for event in of_one} == {"one"}
    assert len(of_one) == 3

    text = console("why", f"{page}#reviews")
    assert text.code == 0
    for part in (
        "not in Redis",
        "delivered",
        "attempt 3",
        "crawl two",
        "200, 4 bytes",
        "first byte",
        "attempt 1 retried",
    ):
        assert part in text.out, part

    without_redis = json.loads(console("why", page, "--json", REDIS_URL="").out)
    assert without_redis["audit"] == gone["audit"], "crawls without a frontier have a trail too"

    never = console("why", f"{server.url}/never")
    assert never.code == 1
    assert "no event on" in never.out


def test_why_says_what_keeps_it_from_the_trail(audited: FrontierSeine, console: Callable[..., Finished]) -> None:
    url = "http://shop.example/"
    missing = console("why", url)
    assert missing.code == 1
    assert f"no topic {audited.env['KAFKA_TOPIC_PAGES']}" in missing.out
    unaudited = console("why", url, KAFKA_TOPIC_PAGES="")
    assert unaudited.code == 2
    assert "no crawl of path_spider yet" in unaudited.err
    odd = console("why", url, "--since", "yesterday")
    assert odd.code == 2
    assert "expected a number and its unit" in odd.err
    assert console("why", url, "--seconds", "0").code == 2


@pytest.fixture(scope="module")
def long_topic(kafka_env: dict[str, str]) -> tuple[str, float]:
    """(a topic of 3 partitions with 100 keys, ten records each; the moment between the fifth and the sixth of each)"""
    topic, servers = f"keys-{secrets.token_hex(4)}", kafka_env["KAFKA_BOOTSTRAP_SERVERS"]
    new = NewTopic(topic, 3, 1, config={"retention.ms": "-1"})
    admin = AdminClient({"bootstrap.servers": servers})
    admin.create_topics([new])[topic].result()
    producer = Client({"bootstrap.servers": servers, "partitioner": "murmur2_random", "linger.ms": 5})
    for number in range(10):
        for key in range(100):
            producer.produce(
                topic, json.dumps({"n": number}), f"key-{key}", timestamp=1_700_000_000_000 + number * 1000
            )
    assert producer.flush(30) == 0
    return topic, 1_700_000_004.5


@pytest.fixture
def key_reader(
    kafka_env: dict[str, str], long_topic: tuple[str, float], monkeypatch: pytest.MonkeyPatch
) -> Iterator[KeyReader]:
    """Reads that topic in small steps."""
    monkeypatch.setattr("crawlers.records_by_key._STEP", 7)
    monkeypatch.setattr("crawlers.records_by_key._LONGEST_STEP", 40)
    with KeyReader(Settings(kafka_env), long_topic[0]) as reader:
        yield reader


def numbers(records: Iterable[dict[str, Any]]) -> list[int]:
    return [record["value"]["n"] for record in records]


def test_records_of_a_key_are_found_in_their_partition_from_the_newest_back(key_reader: KeyReader) -> None:
    assert numbers(key_reader.newest_first(b"key-42", since=0, seconds=30)) == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
    assert key_reader.is_done
    assert key_reader.read == key_reader.to_read < 600, "one partition of three"
    assert key_reader.until == 1_700_000_000.0


def test_what_is_older_than_asked_for_is_not_read(key_reader: KeyReader, long_topic: tuple[str, float]) -> None:
    assert numbers(key_reader.newest_first(b"key-42", since=long_topic[1], seconds=30)) == [9, 8, 7, 6, 5]
    assert key_reader.until == 1_700_000_005.0
    assert numbers(key_reader.newest_first(b"key-42", since=1_800_000_000, seconds=30)) == []


def test_reading_back_ends_when_enough_was_found_or_its_time_is_over(key_reader: KeyReader) -> None:
    steps: list[int] = []
    found = key_reader.newest_first(b"key-42", 0, 30, lambda: steps.append(key_reader.read))
    assert next(found)["value"]["n"] == 9
    assert key_reader.read <= 100, "what is older was not read"
    assert list(key_reader.newest_first(b"key-42", 0, 1e-9)) == []
    assert not key_reader.is_done
    assert list(key_reader.newest_first(b"nobody", 0, 30)) == []
    assert key_reader.is_done
    assert steps == sorted(steps)


@pytest.mark.parametrize("keys", [[b"a", b"key-42", "ключ".encode(), secrets.token_bytes(19), b""]])
def test_partitions_are_those_of_java(keys: list[bytes]) -> None:
    assert [partition_of(key, 17) for key in keys] == [java_partition(key, 17) for key in keys]


def test_a_named_crawl_is_not_looked_for_before_its_time() -> None:
    assert TrailSearch("20261121T120000Z-beef").begin == datetime(2026, 11, 21, 11, 59, tzinfo=UTC).timestamp()
    assert TrailSearch("20261121T120000Z-beef", since=2e9).begin == 2e9
    assert TrailSearch("monday", since=5.0).begin == 5.0


# --- Exactly once


def test_events_are_committed_once_with_their_requests_records(
    tmp_path: Path, kafka_env: dict[str, str], redis_server: RedisServer, web: Callable[..., WebServer]
) -> None:
    """One worker is killed, every tenth product is a dead letter, and one is refused by the broker."""
    pages, topics = 80, own_topics()
    server = web(ProductTree(pages, broken_every=10, huge=(7,)))
    crawl = OnceCrawl(tmp_path, kafka_env, redis_server, server, KAFKA_TOPIC_PAGES=topics["KAFKA_TOPIC_PAGES"])
    small = NewTopic(crawl.topic, 2, 1, config={"max.message.bytes": str(HUGE // 8)})
    admin = AdminClient({"bootstrap.servers": kafka_env["KAFKA_BOOTSTRAP_SERVERS"]})
    admin.create_topics([small])[crawl.topic].result()
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

"""The audit trail: what becomes of every attempt at a request is on its topic before the request is settled."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from scrapy import Request
from scrapy.utils.request import fingerprint

from crawlers.audit_sample import AuditSample
from crawlers.exceptions import UserError
from deploy.demo_shop import DemoShop
from tests.audit import by_path, events_of, of
from tests.fleet import FrontierSeine, links
from tests.servers.web import Page, WebServer
from tests.support import Consumed, Seine, consume
from tests.test_delivery import java_partition

PHASES = ("frontier_ms", "queue_ms", "connect_ms", "first_byte_ms", "download_ms", "callback_ms", "delivery_ms")


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
        "/secret": [("filtered", "robots", None, "Refused", 1)],
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

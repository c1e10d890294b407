"""Traces: what an operator with a collector sees of a crawl, from the seed to Kafka's delivery report."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import msgpack
import pytest
from scrapy import Request
from scrapy.settings import Settings
from scrapy.utils.project import get_project_settings

from crawlers.exceptions import UserError
from crawlers.extensions.tracing import Tracing
from crawlers.masking.hidden import passwords
from crawlers.outcomes import CURRENT, RequestRecord
from crawlers.settings_check import check_settings
from crawlers.tracing.options import endpoint_of, is_traced
from crawlers.tracing.trace import RequestTrace
from crawlers.tracing.traceparent import read, trace_id_of, write
from tests.audit import events_of
from tests.exactly_once import OnceCrawl
from tests.fleet import FrontierSeine, links
from tests.letters import Letters, product
from tests.polling import until
from tests.product_tree import HUGE, ProductTree
from tests.servers.collector import Collector, Span
from tests.servers.redis import RedisServer
from tests.servers.web import Page, WebServer
from tests.support import Consumed, Finished, Seine, consume
from tests.test_dead_letters import Scene, request_for
from tests.topics import admin_of, create_topic

_OWN, _INTERNAL, _CLIENT, _PRODUCER = "00-{}-{}-01", 1, 3, 4
_STEPS = ["lease wait", "politeness wait", "download", "extract"]
_KINDS = {"download": _CLIENT, "produce": _PRODUCER}

Web = Callable[..., WebServer]


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as started:
        yield started


def _crawl(letters: Letters, server: WebServer, url: str, **settings: Any) -> Finished:
    own = {"ROBOTSTXT_OBEY": 0, "RETRY_BACKOFF_SECONDS": 0.01, "OTEL_EXPORTER_OTLP_ENDPOINT": url, **settings}
    finished = letters.seine.crawl("-a", f"sites={letters.site(server)}", **own)
    assert finished.code == 0, finished.err[-3000:]
    return finished


def _products(seine: Seine) -> list[Consumed]:
    return consume(seine.env, seine.env["KAFKA_TOPIC_PRODUCTS"])


def _requests(collector: Collector, server: WebServer) -> dict[str, list[Span]]:
    """The spans of requests by path, in the order of their attempts."""
    found: dict[str, list[Span]] = {}
    for span in sorted(collector.of("request"), key=lambda one: one.attributes["seine.attempt"]):
        found.setdefault(span.attributes["url.full"].removeprefix(server.url), []).append(span)
    return found


def _produced(collector: Collector, record: Consumed) -> Span:
    """The span that a record's traceparent names."""
    [span] = [one for one in collector.spans if _traceparent(one) == record.headers["traceparent"]]
    return span


def _traceparent(span: Span) -> str:
    return _OWN.format(span.trace_id, span.span_id)


def _link(span: Span) -> tuple[str, str]:
    return span.trace_id, span.span_id


# --- What a trace shows


def test_a_trace_leads_from_the_seed_to_the_delivery_report(
    letters: Letters, web: Web, collector: Collector, tmp_path: Path
) -> None:
    lamp = product("Lamp", description=random.Random(1).randbytes(3000).hex())
    server = web({"/": links("/lamp"), "/lamp": lamp})
    store = {"STORE_CONTENT": 1, "CLAIM_CHECK_URL": f"file://{tmp_path}/store", "CLAIM_CHECK_THRESHOLD": 1}

    finished = _crawl(letters, server, collector.url, FRONTIER_CRAWL_ID="monday", WORKER_ID="w1", **store)

    [seed], [page] = _requests(collector, server)["/"], _requests(collector, server)["/lamp"]
    below = collector.below(page)
    assert list(collector.below(seed)) == [*_STEPS, "produce"]
    assert list(below) == [*_STEPS, "claim", "produce"]
    assert (seed.links, page.links) == ([], [_link(seed)])
    [record] = _products(letters.seine)
    assert _produced(collector, record) in below["produce"]
    assert {_produced(collector, event).parent_id for event in events_of(letters.seine)} == {seed.span_id, page.span_id}
    _check_moments(page, below)
    assert {one.name: one.kind for one in collector.spans} == {
        name: _KINDS.get(name, _INTERNAL) for name in ("request", *below)
    }
    assert (page.resource["service.name"], page.resource["service.instance.id"]) == ("seine", "w1")
    wanted = {"seine.outcome": "delivered", "seine.site": "shop", "seine.attempt": 1, "seine.crawl_id": "monday"}
    assert wanted.items() <= page.attributes.items()
    [download], [claim] = below["download"], below["claim"]
    assert download.attributes["http.response.status_code"] == 200
    assert claim.attributes["seine.bytes"] > 1000
    assert not [one for one in collector.spans if one.error]
    [event] = finished.events("request", url=f"{server.url}/lamp")
    [item] = finished.events("item")
    assert event["trace_id"] == item["trace_id"] == page.trace_id


def _check_moments(request: Span, below: dict[str, list[Span]]) -> None:
    """Each step begins where the one before it ended; none is outside of the request."""
    [waited], [polite], [download], [extract] = (below[name] for name in _STEPS)
    assert request.begun_at == waited.begun_at
    assert waited.ended_at == polite.begun_at <= polite.ended_at == download.begun_at
    assert download.begun_at < download.ended_at == extract.begun_at < extract.ended_at
    [claim], (produce, event) = below["claim"], below["produce"]
    assert extract.begun_at <= claim.begun_at < claim.ended_at <= produce.begun_at < produce.ended_at
    assert produce.ended_at <= event.begun_at < event.ended_at <= request.ended_at


def test_attempts_at_a_request_are_in_one_trace_and_its_dead_letter_too(
    letters: Letters, web: Web, collector: Collector
) -> None:
    server = web({"/": links("/again", "/down"), "/again": _second_time(product("Desk")), "/down": Page("no", 503)})

    _crawl(letters, server, collector.url, RETRY_TIMES=1)

    found = _requests(collector, server)
    [seed] = found["/"]
    for path, outcome in (("/again", "delivered"), ("/down", "dead")):
        first, second = found[path]
        assert first.trace_id == second.trace_id != seed.trace_id
        assert first.links == second.links == [_link(seed)]
        assert [one.attributes["seine.outcome"] for one in (first, second)] == ["retried", outcome]
        assert collector.below(first)["download"][0].error == "http 503"
        assert "extract" not in collector.below(first)
    assert [one.error for one in found["/down"]] == [None, "http 503"]
    [letter] = letters.read()
    assert _produced(collector, letter) in collector.below(found["/down"][1])["produce"]
    traced = {one.headers["traceparent"] for one in events_of(letters.seine)}
    assert traced <= {_traceparent(one) for one in collector.of("produce")}
    assert len(traced) == 5


def _second_time(page: Page) -> Callable[[int], Page]:
    return lambda visits: page if visits else Page("later", 503)


def test_a_redirected_request_leads_to_the_one_in_its_place(letters: Letters, web: Web, collector: Collector) -> None:
    server = web({"/": Page(status=302, headers={"Location": "/lamp"}), "/lamp": product("Lamp")})
    _crawl(letters, server, collector.url)
    [moved], [page] = _requests(collector, server)["/"], _requests(collector, server)["/lamp"]
    assert moved.attributes["seine.outcome"] == "redirected"
    assert page.links == [_link(moved)]


def test_what_dies_in_the_queue_has_a_trace(letters: Letters, collector: Collector) -> None:
    scene = Scene(letters.fleet)
    scene.crawl("monday")
    scene.worker("monday").enqueue(request_for("http://other.example/"))
    settings = {"FRONTIER_CRAWL_ID": "monday", "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
    letters.seine.crawl(ROBOTSTXT_OBEY=0, **settings)
    [letter] = letters.read()
    assert letter.headers["error"] == "corrupt request"
    [request] = collector.of("request")
    assert collector.below(request) == {"produce": [_produced(collector, letter)]}
    assert (request.attributes["seine.outcome"], request.error is None) == ("dead", False)


def test_without_redis_attempts_are_in_one_trace_and_links_lead_on(
    seine: Seine, web: Web, collector: Collector
) -> None:
    server = web({"/": links("/again"), "/again": _second_time(product("Desk"))})
    options = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "ROBOTSTXT_OBEY": 0, "RETRY_BACKOFF_SECONDS": 0.01}
    finished = seine.crawl("-a", f"sites={Letters(seine).site(server)}", **options)
    assert finished.code == 0, finished.err[-3000:]
    found = _requests(collector, server)
    [seed], (first, second) = found["/"], found["/again"]
    assert first.trace_id == second.trace_id
    assert first.links == second.links == [_link(seed)]
    assert list(collector.below(second)) == ["download", "extract", "produce"]
    [record] = _products(seine)
    assert _produced(collector, record).trace_id == second.trace_id


def test_exactly_once_a_record_is_produced_when_its_transaction_is_committed(
    tmp_path: Path, kafka_env: dict[str, str], redis_server: RedisServer, web: Web, collector: Collector
) -> None:
    server = web(ProductTree(12, broken_every=5, huge=(7,)))
    once = OnceCrawl(tmp_path, kafka_env, redis_server, server, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
    create_topic(admin_of(once.seine.env), once.topic, **{"max.message.bytes": str(HUGE // 8)})
    once.run()
    assert once.check()["dead:item"] == 4
    requests = {one.span_id: one for one in collector.of("request")}
    assert len(requests) == 12
    for record, outcome in [(one, "delivered") for one in once.products()] + [(one, "dead") for one in once.letters()]:
        span = _produced(collector, record)
        assert requests[span.parent_id].attributes["seine.outcome"] == outcome
        assert span.ended_at == requests[span.parent_id].ended_at
    [refused] = [one for one in collector.of("produce") if one.error]
    assert requests[refused.parent_id].attributes["url.full"] == f"{server.url}/p/item-7"
    assert '"outcome amended"' in once.log()


def test_a_page_of_a_browser_is_rendered(
    fleet: FrontierSeine, web: Web, collector: Collector, browser_folder: Path
) -> None:
    server = web({"/item-good": Page("<p>x</p>")})
    settings = {"BROWSER_TMP_DIR": browser_folder, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
    fleet.crawl_from(server, "/item-good", SPIDER_MODULES="tests.rendered_spider", **settings)
    [request] = collector.of("request")
    below = collector.below(request)
    assert list(below) == ["lease wait", "politeness wait", "render", "extract"], "there is no Kafka"
    assert below["render"][0].attributes["seine.rendered_by"]


# --- What it does not show


def test_traces_and_the_log_hide_what_is_personal_or_secret(letters: Letters, web: Web, collector: Collector) -> None:
    """Neither what the rules mask, nor the key to the collector, whose header has it all the same."""
    server = web({"/": links("/lamp?mail=jane@shop.example"), "/lamp?mail=jane@shop.example": product("Lamp")})
    key = {"OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Bearer%20s3cret-token,x-tenant=shops"}
    finished = _crawl(letters, server, collector.url, LOG_LEVEL="DEBUG", MASKING_PATTERNS="email=mask", **key)
    assert f"{server.url}/lamp?mail=*email*" in [one.attributes["url.full"] for one in collector.of("request")]
    assert "jane" not in repr(collector.spans)
    assert "s3cret-token" not in finished.err
    assert {"Bearer s3cret-token", "s3cret-token"} <= passwords(_settings(**key))
    [told] = {(one["authorization"], one["x-tenant"]) for one in collector.headers}
    assert told == ("Bearer s3cret-token", "shops")


def test_what_is_not_sampled_has_ids_and_no_spans(letters: Letters, web: Web, collector: Collector) -> None:
    letters.seine.env["OTEL_TRACES_SAMPLER"] = "always_off"
    server = web({"/": links("/lamp", "/none"), "/lamp": product("Lamp")})
    _crawl(letters, server, collector.url)
    assert collector.spans == []
    [record], [letter] = _products(letters.seine), letters.read()
    assert {one.headers["traceparent"][-3:] for one in (record, letter)} == {"-00"}
    assert "traceparent" not in letter.value["meta"], "nobody could follow it"


def test_a_request_that_copies_its_parents_meta_does_not_link_to_its_grandparent() -> None:
    """Where its parent is not sampled."""
    before = {"traceparent": write(1, 2, is_sampled=True), "depth": 1}
    parent, child = (Request("http://shop.example/", meta=before.copy()) for _ in range(2))
    record = RequestRecord(parent)
    record.trace = RequestTrace(record, 3, print, is_sampled=False)
    token = CURRENT.set(record)
    try:
        Tracing.request_scheduled(Tracing.__new__(Tracing), child)
    finally:
        CURRENT.reset(token)
    assert (child.meta, parent.meta) == ({"depth": 1}, before)


def test_what_is_off_is_not_even_imported(letters: Letters, web: Web, collector: Collector) -> None:
    server = web({"/": product("Lamp")})
    command = (sys.executable, "-X", "importtime", "-m", "scrapy", "crawl", "product_spider")
    imported = {}
    for name, url in (("off", ""), ("on", collector.url)):
        env = {**letters.seine.env, "OTEL_EXPORTER_OTLP_ENDPOINT": url, "FRONTIER_CRAWL_ID": name}
        options = ("-a", f"sites={letters.site(server)}", "-s", "ROBOTSTXT_OBEY=0")
        told = subprocess.run((*command, *options), cwd=letters.seine.root, env=env, capture_output=True, text=True)
        assert told.returncode == 0, told.stderr[-2000:]
        imported[name] = {line.split("|")[-1].strip() for line in told.stderr.splitlines()}
        assert ('"trace_id"' in told.stderr) == (name == "on")
    ours = {"opentelemetry.sdk.trace", "opentelemetry.exporter", "google.protobuf", "crawlers.tracing.export"}
    assert ours <= imported["on"]
    assert not ours & imported["off"], "redis-py imports the SDK's metrics by itself"
    off, on = sorted(_products(letters.seine), key=lambda one: one.headers["crawl_id"] == "on")
    assert ("traceparent" in off.headers, "traceparent" in on.headers) == (False, True)


# --- A collector in trouble


def test_a_crawl_does_not_mind_that_the_collector_is_away(letters: Letters, web: Web, nowhere: str) -> None:
    letters.seine.env |= {"OTEL_BSP_SCHEDULE_DELAY": "10", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    server = web({"/": links("/lamp"), "/lamp": product("Lamp")})
    finished = _crawl(letters, server, f"http://{nowhere}", LOG_LEVEL="DEBUG")
    [record] = _products(letters.seine)
    assert record.headers["traceparent"].endswith("-01")
    assert len(finished.events("collector away: spans are lost")) == 1
    assert not [one for one in finished.log if one["logger"].startswith("opentelemetry")]


def test_a_collector_that_hangs_delays_neither_the_crawl_nor_much_its_end(
    letters: Letters, web: Web, collector: Collector
) -> None:
    letters.seine.env |= {"OTEL_BSP_SCHEDULE_DELAY": "10"}
    collector.may_answer.clear()
    server = web({"/": links("/lamp"), "/lamp": lambda _: collector.asked.wait(30) and product("Lamp")})
    began = monotonic()
    finished = _crawl(letters, server, collector.url, TRACING_DRAIN_TIMEOUT=0.5)
    assert monotonic() - began < 25, "the exporter's own patience is 10 s for each batch"
    assert len(_products(letters.seine)) == 1, "it came while the exporter waited"
    [_] = finished.events("spans left behind", seconds=0.5)


def test_a_collector_that_is_back_gets_what_comes_then(letters: Letters, web: Web, collector: Collector) -> None:
    letters.seine.env |= {"OTEL_BSP_SCHEDULE_DELAY": "10", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "2"}
    collector.status = 400

    def answer(_: int) -> Page:
        until(lambda: len(collector.headers) >= 2, "only one batch was refused")
        collector.status = 200
        return product("Lamp")

    server = web({"/": links("/lamp"), "/lamp": answer})
    finished = _crawl(letters, server, collector.url)
    assert len(finished.events("collector away: spans are lost")) == 1
    assert len(finished.events("collector back")) == 1
    assert list(_requests(collector, server)) == ["/lamp"]


# --- What the frontier keeps


def test_a_stored_request_grows_little_and_only_where_it_is_traced(
    letters: Letters, web: Web, collector: Collector
) -> None:
    server = web({"/": links("/none")})
    sizes = {}
    for name, url in (("off", ""), ("on", collector.url)):
        _crawl(letters, server, url, FRONTIER_CRAWL_ID=name)
        [(stored, _)] = _stored(letters, name)
        sizes[name] = len(stored)
    assert 0 < sizes["on"] - sizes["off"] <= 72


def _stored(letters: Letters, crawl: str) -> list[tuple[bytes, Any]]:
    """The bytes of the dead requests, and what they hold."""
    assert letters._redis is not None
    rows = letters._redis.hvals(f"{letters.root(crawl)}:dead")
    return [(data := msgpack.unpackb(row, raw=True)[2], msgpack.unpackb(data)) for row in rows]


# --- What is asked for


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", "expected a URL that starts with http"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "expected http/protobuf"),
        ("OTEL_TRACES_EXPORTER", "console", "expected one of otlp, none"),
    ],
)
def test_what_cannot_be_had_is_told(name: str, value: str, expected: str) -> None:
    with pytest.raises(UserError) as caught:
        check_settings(_settings(**{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", name: value}))
    assert str(caught.value).startswith(f"{name}={value}: {expected}")


def test_a_key_in_no_form_is_told_without_it() -> None:
    settings = _settings(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:4318", OTEL_EXPORTER_OTLP_HEADERS="s3cret")
    with pytest.raises(UserError) as caught:
        check_settings(settings)
    assert str(caught.value) == "OTEL_EXPORTER_OTLP_HEADERS: expected name=value, comma separated"


@pytest.mark.parametrize(
    ("settings", "endpoint"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/"}, "http://c:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/in"}, "http://c:4318/in/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://t/x"}, "http://t/x"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "1"}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "none"}, None),
        ({}, None),
    ],
)
def test_the_endpoint_is_as_opentelemetry_has_it(settings: dict[str, str], endpoint: str | None) -> None:
    given = _settings(**settings)
    assert (endpoint_of(given) if is_traced(given) else None) == endpoint


@pytest.mark.parametrize(
    "text",
    [None, 7, b"", "", "00-0-0-01", f"00-{'0' * 32}-{'1' * 16}-01", f"00-{'1' * 32}-{'0' * 16}-01", f"01-{'A' * 32}"],
)
def test_what_is_no_traceparent_links_to_nothing(text: object) -> None:
    assert read(text) is None


def test_a_traceparent_is_read_as_it_was_written() -> None:
    trace_id = trace_id_of("monday", "product_spider", b"12345678")
    assert trace_id != trace_id_of("monday", "product_spider", b"12345679") != trace_id_of("monday", "", b"12345679")
    assert read(write(trace_id, 7, is_sampled=True)) == (trace_id, 7, 1)
    assert read(write(trace_id, 7, is_sampled=False)) == (trace_id, 7, 0)


def _settings(**changes: str) -> Settings:
    settings = get_project_settings()
    settings.setdict({"OTEL_EXPORTER_OTLP_ENDPOINT": "", **changes}, priority="cmdline")
    return settings

"""Workers and `scrapy frontier serve` tell over HTTP how they are: metrics, health, and the page's data."""

from __future__ import annotations

import json
import re
import signal
import socket
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any

import pytest
import requests
from prometheus_client import Metric

from crawlers import measuring, metrics  # noqa: F401, the former registers some
from crawlers.frontier.report import BESIDE, LEFT, RIGHT, Status
from crawlers.status.fleet_metrics import FleetMetrics
from crawlers.status.guard import is_open
from crawlers.status.top_domains import OTHERS, TopDomains
from crawlers.status.view import FleetState
from crawlers.version import VERSION
from tests.fleet import FrontierSeine, links
from tests.letters import PIPELINES, Letters, product
from tests.polling import until
from tests.servers.ports import free_port, free_row
from tests.servers.redis import RedisServer
from tests.servers.web import Page, WebServer
from tests.status import StatusAt
from tests.support import ROOT, Seine

SHOP = {
    "/": links("/a", "/b", "/bad", "/none"),
    "/a": product("a", sku="1"),
    "/b": product("b", sku="2"),
    "/bad": product("bad", offers={"price": "5"}),
}


def started(seine: Seine, *args: str, **settings: object) -> StatusAt:
    """A command whose status is served."""
    port = free_port()
    given = {"STATUS_PORT": port, **settings}
    seine.start(*args, *(part for name, value in given.items() for part in ("-s", f"{name}={value}")))
    return StatusAt(port).wait()


@pytest.fixture
def worker(letters: Letters, web: Callable[..., WebServer]) -> StatusAt:
    """Of a worker that has crawled SHOP and waits for the next crawl."""
    settings = {"ROBOTSTXT_OBEY": 0, "RETRY_BACKOFF_SECONDS": 0.01, "ITEM_PIPELINES": json.dumps(PIPELINES)}
    status = started(
        letters.seine, "crawl", "product_spider", "-a", f"sites={letters.site(web(SHOP))}", FRONTIER_WAIT=1, **settings
    )
    until(lambda: status.json()["fleet"]["crawls"][0]["state"] == "complete", "a complete crawl")
    return status


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


def test_a_worker_tells_what_it_has_done(worker: StatusAt, letters: Letters) -> None:
    until(lambda: worker.metrics()["seine_kafka_brokers_up",], "librdkafka's statistics")
    told = worker.metrics()
    assert told["seine_requests_total", "delivered", ""] == told["seine_site_requests_total", "delivered", "shop"] == 2
    assert told["seine_requests_total", "dead", "http 404"] == told["seine_responses_total", "404"] == 1
    assert told["seine_responses_total", "200"] == 4
    assert told["seine_response_bytes_total",] > 300
    assert told["seine_phase_seconds_count", "first_byte"] == told["seine_phase_seconds_count", "queue"] == 5
    assert told["seine_phase_seconds_count", "delivery"] == 3
    assert told["seine_site_items_total", "acknowledged", "shop"] == 2
    assert told["seine_invalid_fields_total", "currency"] == 1
    assert told["seine_dead_letters_total", "validation"] == told["seine_dead_letters_total", "download"] == 1
    assert told["seine_site_last_product_timestamp_seconds", "shop"] > 1.7e9
    assert told["seine_kafka_sent_records_total",] >= 9, "records, letters and audit events"
    assert told["seine_kafka_round_trip_seconds", "0.99"] > 0
    assert told["seine_leases_held",] == told["seine_kafka_queue_records",] == 0
    assert told["process_resident_memory_bytes",] > 1e7
    assert [key for key in told if key[0] == "seine_build_info"]


def test_the_metrics_have_the_equation_and_its_sides_are_equal(worker: StatusAt) -> None:
    until(lambda: worker.metrics()["seine_frontier_known", "product_spider"] == 5, "all requests known")
    told = {key[2]: value for key, value in worker.metrics().items() if key[0] == "seine_frontier_requests"}
    assert {name: n for name, n in told.items() if n} == {
        "seeded": 1,
        "discovered": 4,
        "delivered": 2,
        "expanded": 1,
        "dead": 2,
    }
    told = {key[0]: value for key, value in worker.metrics().items() if key[1:] == ("product_spider",)}
    assert (told["seine_frontier_leak"], told["seine_frontier_crawls_open"], told["seine_redis_up"]) == (0, 0, 1)
    assert told["seine_frontier_accounted"] == 5
    assert told["seine_frontier_crawl_opened_timestamp_seconds"] > 1.7e9


def test_the_page_is_told_of_crawls_sites_and_dead_letters(worker: StatusAt) -> None:
    told = worker.json()
    [crawl] = told["fleet"]["crawls"]
    assert (crawl["balanced"], crawl["right"]["delivered"], crawl["dead"]) == (True, 2, {"http 404": 1, "item": 1})
    assert told["worker"]["sites"]["shop"]["requests"] == {"delivered": 2, "expanded": 1, "dead": 2}
    assert told["worker"]["troubles"] == {}
    letters = until(lambda: len(found := worker.json()["letters"]["letters"]) == 2 and found, "both letters")
    assert {one["stage"] for one in letters} == {"validation", "download"}
    assert {one["error"] for one in letters} == {"InvalidItem", "http 404"}


def test_events_bring_the_page_what_is_new(worker: StatusAt) -> None:
    with requests.get(worker.url + "/events", stream=True, timeout=30) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        lines = (line for line in answer.iter_lines() if line)
        told = [json.loads(next(lines).removeprefix(b"data: ")) for _ in range(2)]
    assert all(one["fleet"]["crawls"][0]["known"] == 5 for one in told)


def test_a_worker_that_drains_is_alive_and_not_ready(letters: Letters, web: Callable[..., WebServer]) -> None:
    may_end = Event()
    server = web({"/": links("/slow"), "/slow": lambda earlier: (may_end.wait(60), product("a"))[1]})
    status = started(letters.seine, "crawl", "product_spider", "-a", f"sites={letters.site(server)}", ROBOTSTXT_OBEY=0)
    server.wait_for(2)
    assert (status.get("/readyz").status_code, status.get("/readyz").text) == (200, "ready\n")
    [process] = letters.seine.started
    process.send_signal(signal.SIGTERM)
    until(lambda: status.get("/readyz").status_code == 503, "not ready")
    assert status.get("/readyz").text == "worker: draining\n"
    assert status.get("/healthz").text == "ok\n"
    may_end.set()
    assert process.wait(60) == 0


def test_what_keeps_a_worker_from_its_work_is_told(
    fleet: FrontierSeine, own_redis: RedisServer, web: Callable[..., WebServer]
) -> None:
    fleet.env["REDIS_URL"] = own_redis.url
    server = web({"/": Page("x")})
    status = started(fleet, "crawl", "path_spider", "-a", f"url={server.url}/", *fleet.options(FRONTIER_WAIT=1))
    until(lambda: status.metrics()["seine_redis_up", "path_spider"] == 1, "Redis is up")
    own_redis.stop()
    until(lambda: status.get("/readyz").status_code == 503, "not ready")
    assert status.get("/readyz").text == "redis: does not answer\n"
    until(lambda: status.metrics()["seine_redis_up", "path_spider"] == 0, "Redis is told as down")
    assert status.get("/healthz").ok
    own_redis.start()
    until(lambda: status.get("/readyz").ok, "ready again")
    until(lambda: status.metrics()["seine_redis_up", "path_spider"] == 1, "Redis is up again")


# --- The fleet, without a worker


def test_the_fleet_is_told_of_without_a_worker(worker: StatusAt, letters: Letters) -> None:
    served = started(letters.seine, "frontier", "serve")
    assert served.get("/readyz").text == "ready\n"
    told, of_worker = served.json(), worker.json()
    assert told["worker"] is None
    assert told["fleet"]["crawls"][0]["right"] == of_worker["fleet"]["crawls"][0]["right"]
    letters_ = until(lambda: served.json()["letters"]["letters"], "letters")
    assert {one["error"] for one in letters_} == {"InvalidItem", "http 404"}
    metrics = served.metrics()
    assert metrics["seine_frontier_known", "product_spider"] == 5
    assert metrics["seine_frontier_workers", "product_spider"] == 0, "the one there is waits for another crawl"
    assert metrics["seine_redis_memory_bytes", "0"] > 0
    process = letters.seine.started[-1]
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert "serving the status of product_spider at http://127.0.0.1:" in process.communicate()[1]


def test_serving_bears_a_redis_that_is_away(fleet: FrontierSeine, own_redis: RedisServer) -> None:
    fleet.env["REDIS_URL"] = own_redis.url
    own_redis.stop()
    served = started(fleet, "frontier", "serve")
    assert served.get("/readyz").status_code == 503
    assert served.get("/readyz").text == "redis: does not answer\n"
    assert served.json()["fleet"]["error"].startswith("REDIS_URL: Redis at redis://127.0.0.1")
    assert served.metrics()["seine_redis_up", "product_spider"] == 0
    assert served.json()["fleet"]["crawls"] == []
    own_redis.start()
    until(lambda: served.metrics()["seine_redis_up", "product_spider"] == 1, "Redis is up")
    assert served.get("/readyz").ok


def test_the_page_is_told_at_once_where_kafka_is_away_or_none(fleet: FrontierSeine, nowhere: str) -> None:
    assert started(fleet, "frontier", "serve").json()["letters"] == {
        "letters": [],
        "error": "KAFKA_BOOTSTRAP_SERVERS is not set",
    }
    fleet.env["KAFKA_BOOTSTRAP_SERVERS"] = nowhere
    served = started(fleet, "frontier", "serve")
    began = monotonic()
    assert served.json()["letters"] == {"letters": [], "error": ""}
    assert monotonic() - began < 5, "Kafka is asked for ten seconds"
    until(lambda: "Kafka does not answer" in served.json()["letters"]["error"], "the error")


def test_a_site_that_is_wrong_says_nothing_of_redis(fleet: FrontierSeine) -> None:
    (fleet.folder / "sites" / "broken.toml").write_text("name = ")
    served = started(fleet, "frontier", "serve")
    assert served.json()["fleet"]["error"] == ""
    assert served.metrics()["seine_redis_up", "product_spider"] == 1


# --- Ports


def test_workers_of_a_host_take_a_port_each(fleet: FrontierSeine, web: Callable[..., WebServer]) -> None:
    first = free_row(2)
    server = web({"/": Page("x")})
    options = fleet.options(FRONTIER_WAIT=1, STATUS_PORT=f"{first}-{first + 1}")
    for _ in range(2):
        fleet.start("crawl", "path_spider", "-a", f"url={server.url}/", *options)
    names = {StatusAt(port).wait().json()["worker"]["name"].rpartition(":")[2] for port in (first, first + 1)}
    assert names == {str(process.pid) for process in fleet.started}


def test_a_crawl_goes_on_where_no_port_of_a_range_is_free(fleet: FrontierSeine, web: Callable[..., WebServer]) -> None:
    first = free_row(2)
    with socket.create_server(("127.0.0.1", first)), socket.create_server(("127.0.0.1", first + 1)):
        ended = fleet.crawl_from(web({"/": Page("x")}), "/", STATUS_PORT=f"{first}-{first + 1}")
    assert ended.finished.code == 0
    [event] = ended.finished.events("no port is free: nothing serves this worker's metrics")
    assert event["ports"] == f"{first}-{first + 1}"


def test_a_port_that_was_asked_for_and_is_taken_stops_the_start(offline: Seine, web: Callable[..., WebServer]) -> None:
    server, port = web({"/": Page("x")}), free_port()
    with socket.create_server(("127.0.0.1", port)):
        finished = offline.crawl("-a", f"urls={server.url}/", STATUS_PORT=port)
    assert finished.code == 1
    told = [line for line in finished.err.splitlines() if line.startswith("seine: ")]
    assert told == [f"seine: STATUS_PORT={port}: taken by another process: choose another, or a range"]
    assert not server.visits


@pytest.mark.parametrize("text", ["many", "9410-9400", "70000", "-1", "94 10"])
def test_a_port_that_is_none_is_told(offline: Seine, text: str) -> None:
    finished = offline.crawl(STATUS_PORT=text)
    assert finished.code == 2
    assert finished.err == f"seine: STATUS_PORT={text}: expected a port, such as 9410, or a range, such as 9410-9459\n"


def test_without_a_port_nothing_is_served(offline: Seine, web: Callable[..., WebServer]) -> None:
    finished = offline.crawl("-a", f"urls={web({'/': Page('x')}).url}/", STATUS_PORT="")
    assert not finished.events("status served")


# --- Who may read it


def test_a_token_is_asked_for_but_for_health(fleet: FrontierSeine) -> None:
    secret = fleet.folder / "token"
    secret.write_text("open sesame\n")
    fleet.env["STATUS_TOKEN_FILE"] = str(secret)
    served = started(fleet, "frontier", "serve")
    for path in ("/", "/metrics", "/status.json", "/events"):
        refused = served.get(path)
        assert refused.status_code == 401
        assert refused.headers["WWW-Authenticate"] == 'Basic realm="Seine"'
        assert served.get(path, Authorization="Bearer open").status_code == 401
    assert served.get("/metrics", Authorization="Bearer open sesame").ok
    assert requests.get(served.url, auth=("anybody", "open sesame"), timeout=30).ok
    assert requests.get(served.url, auth=("open sesame", "wrong"), timeout=30).status_code == 401
    assert served.get("/", Authorization="Basic %%%").status_code == 401
    assert served.get("/healthz").ok
    assert served.get("/readyz").ok


def test_a_page_of_the_web_whose_name_resolves_to_this_machine_reads_nothing(fleet: FrontierSeine) -> None:
    served = started(fleet, "frontier", "serve")
    port = served.url.rpartition(":")[2]
    for host in (f"rebound.example:{port}", "rebound.example", f"127.0.0.1.example:{port}"):
        assert served.get("/status.json", Host=host).status_code == 421
    for host in (f"localhost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}"):
        assert served.get("/status.json", Host=host).ok


def test_browsers_are_told_to_show_the_page_here_and_to_run_nothing_else(fleet: FrontierSeine) -> None:
    answer = started(fleet, "frontier", "serve").get("/")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("host", "token", "open_"),
    [
        ("0.0.0.0", None, True),
        ("::", "", True),
        ("10.0.0.1", "x", False),
        ("127.0.0.1", None, False),
        ("::1", None, False),
    ],
)
def test_a_status_that_others_reach_without_a_token_is_told(host: str, token: str | None, open_: bool) -> None:
    assert is_open(host, token) == open_


# --- Domains


def test_the_busiest_domains_are_told_apart_and_all_others_summed() -> None:
    domains = TopDomains(most=2)
    for domain, requests_ in (("a.example", 3), ("b.example", 2), ("c.example", 5), ("d.example", 1)):
        for _ in range(requests_):
            domains.note(domain, "delivered", 0.5, 100)
    assert counted(domains) == {"a.example": 3, "b.example": 2, OTHERS: 6}, "those that came first"

    domains.choose()
    for domain in ("a.example", "b.example", "c.example"):
        domains.note(domain, "dead", 0.5, 100)
    assert counted(domains) == {"a.example": 4, "c.example": 1, OTHERS: 7}, (
        "no series falls; one that comes begins at 0"
    )

    domains.choose()
    assert counted(domains).keys() == {"a.example", "c.example", OTHERS}, "of equals, those that are there stay"


def test_however_many_domains_there_are_few_are_remembered() -> None:
    domains = TopDomains(most=2)
    for number in range(50_000):
        domains.note(f"{number}.example", "delivered", 0.0, 0)
    assert counted(domains)[OTHERS] == 49_998
    assert len(domains._candidates) == 10_000


def counted(domains: TopDomains) -> dict[str, float]:
    requests_ = next(iter(domains.collect()))
    found: dict[str, float] = {}
    for sample in requests_.samples:
        found[sample.labels["domain"]] = found.get(sample.labels["domain"], 0) + sample.value
    return found


def test_the_version_is_the_projects() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION


def test_the_docs_name_every_metric_and_no_other() -> None:
    named = set(re.findall(r"`(seine_\w+)`", (ROOT / "docs" / "status.md").read_text()))
    status = Status(
        "s", "c", "complete", {}, "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", 1.0, "done", [], *_NUMBERS
    )
    state = FleetState(0.0, [status], latest=[{"closed": "2026-01-01T00:00:00Z"}])
    families = [*metrics.REGISTRY.collect(), *FleetMetrics("s", lambda: state).collect()]
    there = {_exposed(one) for one in families if one.name.startswith("seine_")}
    assert named == there


def _exposed(family: Metric) -> str:
    return family.name + {"counter": "_total", "info": "_info"}.get(family.type, "")


_NUMBERS: tuple[Any, ...] = (0, 0, True, *({term: 0 for term in terms} for terms in (LEFT, RIGHT)), {}, {}, {})
_NUMBERS += (dict.fromkeys(BESIDE, 0), 0, False, {}, None, None, None, 0, [], [])

"""Crawl after crawl of a shop: what is not as it was is an alarm, once, whatever workers die."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fleet import FrontierSeine
from tests.monitored import MonitoredShop, failed
from tests.polling import until
from tests.servers.redis import RedisServer
from tests.servers.web import Page, WebServer
from tests.servers.webhook import WebhookServer
from tests.support import Finished, Seine, consume, events_in
from tests.test_frontier_redis import documented_rule

PIPELINES = {
    "pipelines.validation.ValidationPipeline": 100,
    "pipelines.changes.ChangesPipeline": 150,
    "pipelines.avro.AvroPipeline": 500,
    "pipelines.kafka.KafkaPipeline": 600,
}


@pytest.fixture
def shop(fleet: FrontierSeine, web: Callable[..., WebServer]) -> MonitoredShop:
    """Twenty products, and a history that is believed after one crawl."""
    shop = MonitoredShop(fleet, web({}))
    shop.describe()
    shop.show()
    return shop


@pytest.fixture
def hook() -> Iterator[WebhookServer]:
    with WebhookServer() as server:
        yield server


def test_a_first_crawl_is_no_alarm_and_its_counts_are_kept(shop: MonitoredShop) -> None:
    first = shop.crawl("c1", MONITORS_FAIL="warning")
    assert failed(first) == []
    [event] = first.events("site judged")
    assert (event["site"], event["status"], event["products"], event["requests"]) == ("shop", "ok", 20, 21)
    result = shop.result()
    assert (result["products"], result["read"], result["dead"], result["zero_prices"]) == (20, 20, 0, 0)
    assert {result["coverage"][name] for name in ("name", "price", "currency", "availability", "images", "sku")} == {
        1.0
    }
    assert (result["coverage"]["gtin"], result["coverage"]["brand"]) == (0.0, 0.0)
    assert (result["prices"]["known"], result["prices"]["median"], result["prices"]["currency"]) == (20, 10.0, "EUR")


def test_half_of_the_products_gone_is_an_alarm_with_an_exit_code_of_its_own_and_then_all_is_well_again(
    shop: MonitoredShop,
) -> None:
    shop.crawl("c1")
    shop.remove(*shop.names[10:])
    second = shop.crawl("c2", code=3, MONITORS_FAIL="error")
    [event] = second.events("monitor failed")
    assert (event["site"], event["monitor"], event["level"]) == ("shop", "products", "error")
    assert event["why"] == "10 products, 20 before"
    assert "monitors  error: shop products" in second.err

    shop.show()
    third = shop.crawl("c3", MONITORS_FAIL="error")
    [event] = third.events("site judged")
    assert (event["status"], event["resolved"]) == ("ok", ["products"])
    assert [row["crawl_id"] for row in shop.history()] == ["c3", "c2", "c1"]


def test_without_monitors_fail_an_alarm_is_told_and_the_crawl_is_done(shop: MonitoredShop) -> None:
    shop.crawl("c1")
    shop.remove(*shop.names[10:])
    assert failed(shop.crawl("c2")) == ["products"]


def test_fields_that_pages_lose_and_prices_that_jump_are_alarms(shop: MonitoredShop) -> None:
    shop.crawl("c1")
    shop.show(image=None)
    assert [event["why"] for event in shop.crawl("c2").events("monitor failed", monitor="coverage")] == [
        "0% of products have images, 100% before"
    ]
    shop.show(price="25.00")
    third = shop.crawl("c3")
    [event] = third.events("monitor failed")
    assert event["monitor"] == "prices"
    assert "100% of prices changed by more than 30%" in event["why"]
    assert "the median price is 25.00 EUR, 10.00 EUR before" in event["why"].replace("10.00 before", "10.00 EUR before")
    shop.show(price="25.00", currency="USD")
    assert failed(shop.crawl("c4")) == ["currency"]


def test_pages_that_fail_are_an_alarm_even_in_a_first_crawl(shop: MonitoredShop) -> None:
    for name in shop.names[:10]:
        shop.server.pages[f"/{name}"] = Page("", 500)
    shop.server.pages["/p19"] = Page("", 404)
    finished = shop.crawl("c1", BREAKER_FAILURES=100)
    [event] = finished.events("monitor failed")
    assert event["monitor"] == "errors"
    result = shop.result()
    assert (result["requests"], result["dead"], result["missing"], result["products"]) == (21, 10, 1, 9)
    assert result["error_rate"] == round(10 / 21, 4)


WALL = Page("<title>Attention Required! | Cloudflare</title>", 403, {"cf-mitigated": "challenge"})


@pytest.mark.parametrize("with_redis", [True, False], ids=["a fleet", "a process by itself"])
def test_walls_count_as_errors_however_the_request_ends(shop: MonitoredShop, *, with_redis: bool) -> None:
    shop.seine.env |= {} if with_redis else {"REDIS_URL": ""}
    good = shop.server.pages["/p0"]
    shop.server.pages["/p0"] = lambda earlier: WALL if not earlier else good
    shop.server.pages["/p1"] = WALL
    [event] = shop.crawl("c1", RETRY_TIMES=1).events("site judged")
    # An attempt at /p0, the first one at /p1, and /p1 itself, which is dead.
    assert (event["products"], event["requests"], event["error_rate"]) == (19, 21, round(3 / 23, 4))


def test_what_is_no_crawl_is_not_judged(offline: Seine, web: Callable[..., WebServer]) -> None:
    shop = MonitoredShop(offline, web({}))
    shop.describe("min_products = 30")
    shop.show()
    parsed = offline.run("parse", "--spider", "product_spider", f"{shop.server.url}/p1", "-s", "LOG_ENABLED=1")
    assert parsed.code == 0, parsed.err
    assert "Lamp p1" in parsed.out
    assert "judged" not in parsed.err


def test_what_a_site_asks_for_at_least_and_what_it_switches_off_are_kept_to(shop: MonitoredShop) -> None:
    shop.describe('after = 1\nmin_products = 30\nmin_coverage = { gtin = 0.5 }\nwarn = ["coverage"]\noff = ["prices"]')
    first = shop.crawl("c1", code=3, MONITORS_FAIL="error")
    levels = {event["monitor"]: event["level"] for event in first.events("monitor failed")}
    assert levels == {"products": "error", "coverage": "warning"}
    shop.describe('after = 1\nmin_coverage = { gtin = 0.5 }\nwarn = ["coverage"]\noff = ["prices"]')
    shop.show(price="99.00")
    shop.crawl("c2", code=0, MONITORS_FAIL="error")
    shop.crawl("c3", code=3, MONITORS_FAIL="warning")


def test_a_crawl_of_several_workers_is_judged_once_by_what_all_of_them_have_counted(
    shop: MonitoredShop, hook: WebhookServer
) -> None:
    ended = ends(shop.start(3, "c1", MONITORS_WEBHOOK_URL=hook.url, MONITORS_WEBHOOK_LEVEL="all"))
    assert [one.code for one in ended] == [0, 0, 0]
    judged = [event for one in ended for event in one.events("site judged")]
    assert [(event["products"], event["requests"]) for event in judged] == [(20, 21)]
    assert all(one.events("request") for one in ended)
    assert len(hook.posts) == 1


@pytest.mark.parametrize("dies_at", ["_all_of", "_alarm"])
def test_where_the_judge_is_killed_another_worker_goes_on(
    shop: MonitoredShop, hook: WebhookServer, tmp_path: Path, dies_at: str
) -> None:
    pipelines = json.dumps({"pipelines.validation.ValidationPipeline": 100, "tests.monitored.DiesAsJudge": 900})
    dying = {"ITEM_PIPELINES": pipelines, "DIE_ONCE": tmp_path / "died", "DIES_AT": dies_at}
    ended = ends(shop.start(2, "c1", MONITORS_WEBHOOK_URL=hook.url, MONITORS_WEBHOOK_LEVEL="all", **dying))
    assert sorted(one.code for one in ended) == [-9, 0]
    assert sum(len(one.events("site judged")) for one in ended) == 1
    assert [row["products"] for row in shop.history()] == [20]
    assert [post.json["products"] for post in hook.posts] == [20]


def test_where_no_worker_was_left_the_next_crawl_tells_of_the_one_before(
    shop: MonitoredShop, redis_server: RedisServer, tmp_path: Path
) -> None:
    pipelines = json.dumps({"pipelines.validation.ValidationPipeline": 100, "tests.monitored.DiesAsJudge": 900})
    dying = {"ITEM_PIPELINES": pipelines, "DIE_ONCE": tmp_path / "died", "DIES_AT": "_all_of"}
    shop.crawl("c1", code=-9, **dying)
    shop.wait_for_claim(redis_server.client(), "c1")
    second = shop.crawl("c2")
    assert sorted(event["crawl"] for event in second.events("site judged")) == ["c1", "c2"]
    assert {row["crawl_id"]: row["products"] for row in shop.history()} == {"c1": 20, "c2": 20}


def test_a_worker_that_waits_for_the_next_crawl_judges_each_and_ends_as_it_should(
    shop: MonitoredShop, redis_server: RedisServer
) -> None:
    worker = shop.seine.start(*shop.arguments("", FRONTIER_WAIT=1, MONITORS_FAIL="error"))
    client, registry = redis_server.client(), f"{shop.seine.env['FRONTIER_NAMESPACE']}:{{0}}:product_spider"
    until(lambda: client.llen(f"{registry}:monitors:history:shop") == 1, "the first crawl is not judged")
    until(lambda: not client.zcard(f"{registry}:monitors:due"), "it is judged still")
    shop.remove(*shop.names[10:])
    second = shop.crawl("", FRONTIER_WAIT=0)
    until(lambda: client.llen(f"{registry}:monitors:history:shop") == 2, "the second crawl is not judged")
    until(lambda: not client.zcard(f"{registry}:monitors:due"), "it is judged still")
    worker.terminate()
    [ended] = ends([worker])
    assert ended.code == 0
    assert sorted([*failed(second), *failed(ended)]) == ["products"]
    assert [row["status"] for row in shop.history()] == ["error", "ok"]


def test_the_documented_rights_are_enough_to_judge(shop: MonitoredShop, redis_server: RedisServer) -> None:
    namespace = shop.seine.env["FRONTIER_NAMESPACE"]
    rule = [part.replace("seine", namespace) for part in documented_rule()]
    client = redis_server.client()
    client.execute_command("ACL", "SETUSER", namespace, "reset", *rule[:1], ">s3cret-of-the-user", *rule[2:])
    shop.seine.env["REDIS_URL"] = redis_server.url.replace("redis://", f"redis://{namespace}:s3cret-of-the-user@")
    try:
        for name in ("c1", "c2"):
            assert shop.crawl(name).events("site judged", status="ok")
        assert shop.result()["prices"]["compared"] == 20
        assert shop.seine.run("frontier", "monitors", "--forget", "shop", "--yes").code == 0
        refused = {entry["object"] for entry in client.acl_log() if entry["username"] == namespace}
        assert refused <= {"client"}  # how redis-py introduces itself
    finally:
        client.acl_deluser(namespace)


def test_a_site_whose_domains_lie_in_several_shards_is_counted_in_all_of_them(
    fleet: FrontierSeine, web: Callable[..., WebServer]
) -> None:
    fleet.env["FRONTIER_SHARDS"] = "4"
    servers = [web({}) for _ in range(3)]
    shop = MonitoredShop(fleet, servers[0])
    shop.show()
    for server in servers[1:]:
        server.pages.update({path: page for path, page in servers[0].pages.items() if path != "/"})
    here = [path for path in servers[0].pages if path != "/"]
    servers[0].pages["/"] = Page("".join(f'<a href="{server.url}{path}">x</a>' for server in servers for path in here))
    domains = json.dumps([server.domain for server in servers])
    (fleet.folder / "sites" / "shop.toml").write_text(
        f'name = "shop"\ndomains = {domains}\nseeds = ["{servers[0].url}/"]\n[limits]\ndelay = 0\n'
    )
    shop.crawl("c1")
    result = shop.result()
    assert (result["products"], result["requests"], result["prices"]["known"]) == (60, 61, 60)


def test_cancelled_crawls_and_crawls_of_given_urls_are_not_judged(shop: MonitoredShop) -> None:
    finished = shop.seine.run("crawl", "product_spider", "-a", f"urls={shop.server.url}/p1", "-s", "ROBOTSTXT_OBEY=0")
    assert finished.code == 0, finished.err
    assert finished.events("site judged") == []
    shop.server.may_answer.clear()
    process = shop.seine.start(*shop.arguments("c1"))
    shop.server.wait_for(2)
    assert shop.seine.run("frontier", "cancel", "--yes").code == 0
    shop.server.may_answer.set()
    [ended] = ends([process])
    assert (ended.code, ended.events("site judged")) == (0, [])
    assert "no crawl of a site was judged yet" in shop.seine.run("frontier", "monitors").out
    assert [event["crawl"] for event in shop.crawl("c2").events("site judged")] == ["c2"]


def test_the_command_shows_sites_and_a_sites_history_and_forgets_it(shop: MonitoredShop) -> None:
    shop.crawl("c1")
    shop.remove(*shop.names[10:])
    shop.crawl("c2")
    told = shop.seine.run("frontier", "monitors").out.splitlines()
    assert told[1].split()[:3] == ["shop", "error", "c2"]
    assert "  shop  error  products: 10 products, 20 before" in told
    lines = shop.seine.run("frontier", "monitors", "shop").out.splitlines()
    assert [line.split()[:2] for line in lines[1:3]] == [["c2", "error"], ["c1", "ok"]]
    assert shop.result()["failed"] == {"products": "error"}

    refused = shop.seine.run("frontier", "monitors", "--forget", "shop")
    assert (refused.code, "add --yes" in refused.err) == (2, True)
    assert shop.seine.run("frontier", "monitors", "--forget", "shop", "--yes").code == 0
    unknown = shop.seine.run("frontier", "monitors", "shop")
    assert (unknown.code, unknown.err.count("\n")) == (2, 1)
    assert "no crawl of shop was judged" in unknown.err
    assert failed(shop.crawl("c3")) == []


def test_a_crawl_that_met_another_limit_is_not_compared(shop: MonitoredShop) -> None:
    shop.crawl("c1")
    assert failed(shop.crawl("c2", FRONTIER_CRAWL_PAGES=5)) == []
    assert shop.result()["products"] == 4


def test_monitors_can_be_switched_off(shop: MonitoredShop) -> None:
    assert shop.crawl("c1", MONITORS=0).events("site judged") == []
    assert shop.seine.redis.keys(f"{shop.seine.env['FRONTIER_NAMESPACE']}:*monitors*") == []  # type: ignore[attr-defined]


def test_an_alarm_that_cannot_be_posted_neither_fails_nor_holds_up_the_crawl(shop: MonitoredShop, nowhere: str) -> None:
    url = f"http://{nowhere}/hook?key=s3cret-of-the-hook"
    options = {"MONITORS_WEBHOOK_URL": url, "MONITORS_WEBHOOK_LEVEL": "all", "MONITORS_WEBHOOK_SECONDS": 1}
    finished = shop.crawl("c1", **options)
    [event] = finished.events("webhook failed")
    assert (event["site"], event["host"]) == ("shop", "127.0.0.1")
    assert "s3cret-of-the-hook" not in finished.err


def test_without_redis_a_crawl_is_judged_by_what_needs_no_history(
    offline: Seine, web: Callable[..., WebServer], hook: WebhookServer
) -> None:
    shop = MonitoredShop(offline, web({}))
    shop.describe("min_products = 30\nmin_coverage = { gtin = 0.9 }")
    shop.show()
    finished = shop.crawl("c1", code=3, MONITORS_FAIL="error", MONITORS_WEBHOOK_URL=hook.url)
    assert failed(finished) == ["coverage", "products"]
    [event] = finished.events("site judged")
    assert (event["products"], event["requests"]) == (20, 21)
    [post] = hook.posts
    assert post.json["status"] == "error"


@pytest.fixture
def delivering(seine: Seine, web: Callable[..., WebServer], redis_server: RedisServer) -> MonitoredShop:
    """The same shop, whose records go to Kafka."""
    seine.env |= {"REDIS_URL": redis_server.url, "FRONTIER_NAMESPACE": f"test-{secrets.token_hex(4)}"}
    shop = MonitoredShop(seine, web({}))
    shop.describe()
    shop.show()
    return shop


ONCE = {"KAFKA_DELIVERY": "exactly_once", "KAFKA_SLOTS": 2}


@pytest.mark.parametrize("how", [{}, ONCE], ids=["at least once", "exactly once"])
def test_a_product_that_is_delivered_twice_as_its_worker_was_killed_counts_once(
    delivering: MonitoredShop, tmp_path: Path, how: dict[str, Any]
) -> None:
    pipelines = {**PIPELINES, "tests.monitored.DiesAfterKafka": 900}
    ledger = {"KAFKA_TOPIC_LEDGER": f"ledger-{secrets.token_hex(4)}"} if how else {}
    dying = {"ITEM_PIPELINES": json.dumps(pipelines), "DIE_ONCE": tmp_path / "died", **how, **ledger}
    delivering.crawl("c1", code=-9, **dying)
    delivering.crawl("c1", **dying)
    result = delivering.result()
    assert (result["products"], result["requests"], result["dead"]) == (20, 21, 0)
    env = delivering.seine.env
    assert len({record.key for record in consume(env, env["KAFKA_TOPIC_PRODUCTS"])}) == 20


@pytest.mark.parametrize("how", [{}, ONCE], ids=["at least once", "exactly once"])
def test_products_that_did_not_change_and_pages_that_were_not_sent_count_too(
    delivering: MonitoredShop, how: dict[str, Any]
) -> None:
    ledger = {"KAFKA_TOPIC_LEDGER": f"ledger-{secrets.token_hex(4)}"} if how else {}
    options = {"EMIT": "changes", "MONITORS_FAIL": "warning", **how, **ledger}
    delivering.crawl("c1", **options)
    delivering.crawl("c2", **options)
    assert (delivering.result()["products"], delivering.result()["read"]) == (20, 20)
    for name in delivering.names[:15]:
        delivering.server.pages[f"/{name}"] = Page("", 304)
    delivering.crawl("c3", **options)
    result = delivering.result()
    assert (result["products"], result["read"], result["prices"]["known"]) == (20, 5, 20)
    assert result["prices"]["compared"] == 5


def test_products_whose_pages_are_not_due_count_too(delivering: MonitoredShop) -> None:
    delivering.describe("after = 1\n[changes]\nmin_interval = 1000\nmax_interval = 9000\nleaves = true")
    options = {"EMIT": "changes", "MONITORS_FAIL": "warning"}
    delivering.crawl("c1", **options)
    delivering.crawl("c2", **options)
    result = delivering.result()
    assert (result["products"], result["read"], result["requests"]) == (20, 0, 1)
    assert (result["coverage"], result["prices"]["median"]) == ({}, 10.0)


def ends(processes: list[Any]) -> list[Finished]:
    """How commands end."""
    found = []
    for process in processes:
        out, err = process.communicate(timeout=120)
        found.append(Finished(process.returncode, out, err, events_in(err)))
    return found

"""`scrapy frontier proxies` shows what workers have told Redis of their proxies."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from scrapy.settings import Settings
from scrapy.utils.project import get_project_settings

from crawlers.proxies.health import Results
from crawlers.proxies.listing import Proxy
from crawlers.proxies.pool import ProxyPool
from tests.fleet import FrontierSeine
from tests.frontier_console import Console

PROXIES = (
    "direct,http://user:s3cret@10.0.0.1:8080 label=cheap-1 tier=cheap,socks5://10.0.0.2:1080 label=dear-1 tier=dear"
)
CONFIGURED = {"PROXIES": PROXIES, "PROXY_TIERS": "direct,cheap,dear=2", "PROXY_FAILURES": 2}


def worker_saw(fleet: FrontierSeine, *seen: tuple[str, str, Results], **spent: int) -> None:
    """A worker's (label, domain, results) and bytes by label, told to Redis."""
    own = {**CONFIGURED, "REDIS_URL": fleet.env["REDIS_URL"], "FRONTIER_NAMESPACE": fleet.env["FRONTIER_NAMESPACE"]}
    settings = Settings({**get_project_settings().copy_to_dict(), **own, "FRONTIER_ENABLED": True})
    settings.set("PROXIES", PROXIES.split(","))

    async def tell() -> None:
        pool = ProxyPool(settings, "product_spider")
        known: dict[str, Proxy] = pool._proxies
        for label, domain, results in seen:
            pool.note(known[label], domain, results)
        for label, size in spent.items():
            pool.spend(known[label.replace("_", "-")], size)
        await pool.close()

    asyncio.run(tell())


@pytest.fixture
def told(fleet: FrontierSeine, frontier: Console) -> Any:
    """What two workers have told of three proxies at two domains."""
    worker_saw(
        fleet,
        ("direct", "a.test", Results(banned=1)),
        ("cheap-1", "a.test", Results(failed=2)),
        ("cheap-1", "b.test", Results(ok=3, failed=1, seconds=1.5)),
        dear_1=2_000_000,
    )
    worker_saw(fleet, ("dear-1", "a.test", Results(ok=4, seconds=1.0)))
    return frontier.json("proxies", **CONFIGURED)


def test_the_worst_come_first_with_success_latency_bans_and_cool_down(told: Any) -> None:
    rows = [(one["label"], one["tier"], one["domain"]) for one in told["proxies"]]
    assert rows == [
        ("direct", "direct", "a.test"),
        ("cheap-1", "cheap", "a.test"),
        ("cheap-1", "cheap", "b.test"),
        ("dear-1", "dear", "a.test"),
    ]
    banned, failed, mixed, good = told["proxies"]
    assert (banned["banned"], banned["failed"], banned["success"]) == (1, 0, 0)
    assert 290 < banned["cools_for"] <= 300
    assert (failed["banned"], failed["failed"]) == (0, 2)
    assert 25 < failed["cools_for"] <= 30
    assert (mixed["success"], mixed["latency"], mixed["cools_for"]) == (0.75, 0.5, 0)
    assert (good["success"], good["latency"]) == (1, 0.25)
    assert told["known"] == 4


def test_a_tiers_budget_is_shown_beside_what_came_through_it(told: Any) -> None:
    tiers = {one["tier"]: one for one in told["tiers"]}
    assert list(tiers) == ["direct", "cheap", "dear"]
    assert (tiers["dear"]["budget"], tiers["dear"]["proxies"]) == (2_000_000, 1)
    assert tiers["dear"]["spent"] >= 2_000_000
    assert tiers["cheap"] == {"tier": "cheap", "proxies": 1, "spent": 0, "budget": 0}


def test_one_domain_and_so_many_may_be_asked_for(frontier: Console, told: Any) -> None:
    at_b = frontier.json("proxies", "--domain", "b.test", **CONFIGURED)
    assert [(one["label"], one["domain"]) for one in at_b["proxies"]] == [("cheap-1", "b.test")]
    assert [one["label"] for one in frontier.json("proxies", "--top", "1", **CONFIGURED)["proxies"]] == ["direct"]
    at_a = frontier.json("proxies", "--domain", "a.test", "--top", "2", **CONFIGURED)
    assert ([one["label"] for one in at_a["proxies"]], at_a["known"]) == (["direct", "cheap-1"], 3)
    line = frontier.refused("proxies", "--domain", "c.test", **CONFIGURED)
    assert line == "no proxy was tried at c.test: `scrapy frontier proxies` shows where some were"


def test_people_get_tables_without_credentials(frontier: Console, told: Any) -> None:
    shown = frontier("proxies", **CONFIGURED)
    lines = [" ".join(line.split()) for line in shown.out.splitlines()]
    assert "dear 1 2.0 2 MB, spent" in lines
    assert "cheap-1 cheap b.test 75 % 4 0.50 s" in lines
    [direct] = [line for line in lines if line.startswith("direct direct a.test")]
    assert direct.startswith(("direct direct a.test 0 % 1 1 5 min 0 s", "direct direct a.test 0 % 1 1 4 min "))
    assert "4 of 4" in lines
    assert "s3cret" not in shown.out + shown.err


def test_proxies_that_are_not_configured_here_are_shown_as_such(frontier: Console, told: Any) -> None:
    elsewhere = frontier.json("proxies")
    assert (elsewhere["tiers"], {one["tier"] for one in elsewhere["proxies"]}) == ([], {""})
    assert "not configured" in frontier("proxies").out


def test_where_none_was_tried_that_is_said(frontier: Console) -> None:
    assert "no proxy has been tried lately" in frontier("proxies", **CONFIGURED).out

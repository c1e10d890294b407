"""What `scrapy frontier` does to crawls, requests and domains."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from crawlers.frontier.crawls import Definition
from tests.fleet import FrontierSeine, links
from tests.frontier_console import HOUR_MS, SPIDER, Console, Scene, request_for
from tests.frontier_shard import crawl_delay, ended, retry, settle
from tests.servers.web import Page, WebServer


def answer(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    """There is a terminal, and somebody at it."""
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda question: word)


# --- States


def test_a_crawl_is_paused_resumed_and_drained(frontier: Console, scene: Scene) -> None:
    scene.crawl("monday")
    for verb, state in (("pause", "paused"), ("resume", "running"), ("drain", "draining"), ("resume", "running")):
        finished = frontier(verb)
        assert finished.code == 0
        assert f"crawl monday: {state}; it was" in finished.out
        assert scene.state("monday") == (state, state)
    assert frontier("resume").out == "crawl monday: running, as it was\n"


def test_the_crawl_must_be_named_where_several_are_open(frontier: Console, scene: Scene) -> None:
    scene.crawl("monday")
    scene.crawl("tuesday")
    refused = frontier("pause")
    assert refused.code == 2
    assert "several crawls are open" in refused.err
    assert frontier("pause", "--crawl", "monday").code == 0
    assert scene.state("monday")[0] == "paused"
    assert scene.state("tuesday")[0] == "running"
    told = frontier.json("status")
    assert (told["crawl"], told["also_open"]) == ("tuesday", ["monday"])


def test_cancelling_asks_and_takes_no_answer_for_a_no(
    frontier: Console, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.crawl("monday")
    scene.worker("monday").enqueue(request_for("http://shop.example/"))
    unasked = frontier.refused("cancel")
    assert unasked.startswith("Cancel crawl monday, with 1 requests that have no outcome? Nothing was done: add --yes")
    answer(monkeypatch, "")
    assert frontier("cancel").code == 1
    assert scene.state("monday")[0] == "running"
    answer(monkeypatch, "y")
    assert frontier("cancel").code == 0
    assert scene.state("monday") == ("cancelled", "cancelled")


def test_a_complete_crawl_changes_its_state_no_more(frontier: Console, scene: Scene) -> None:
    scene.crawl("monday")
    assert scene.complete("monday") == "complete"
    for verb in ("pause", "resume", "drain"):
        refused = frontier(verb, "--crawl", "monday")
        assert refused.code == 2
        assert "crawl monday is complete" in refused.err
    assert scene.state("monday")[0] == "complete"


# --- Dead requests


def test_dead_requests_are_fetched_again_by_a_worker_that_is_told_the_crawls_name(
    fleet: FrontierSeine, frontier: Console, web: Callable[..., WebServer]
) -> None:
    server = web({"/": links("/later"), "/later": lambda visits: Page("x", 404 if visits == 0 else 200)})
    over = fleet.crawl_from(server, "/", FRONTIER_CRAWL_ID="monday")
    assert over.dead == {"/later": ["http 404"]}

    requeued = frontier("requeue", "--dead", "--yes", "--spider", "path_spider")
    assert requeued.code == 0, requeued.err
    assert "1 dead requests are pending again; it is running" in requeued.out

    over = fleet.crawl_from(server, "/", FRONTIER_CRAWL_ID="monday")
    assert over.dead == {}
    assert [visit.path for visit in server.visits] == ["/", "/later", "/later"]
    told = frontier.json("status", "--spider", "path_spider")
    assert (told["crawl"], told["state"], told["balanced"]) == ("monday", "complete", True)


def test_only_those_are_requeued_that_are_meant(frontier: Console, scene: Scene) -> None:
    crawl = scene.crawl("monday")
    worker = scene.worker("monday")
    urls = [f"http://{domain}.example/{number}" for domain in "ab" for number in range(4)]
    worker.enqueue(*map(request_for, urls))
    for number, lease in enumerate(worker.lease()):
        worker.settle(settle(lease, "dead", "http 404" if number % 2 else "TimeoutError"))

    assert (
        "2 dead requests" in frontier("requeue", "--dead", "--reason", "http 404", "--domain", "a.example", "--yes").out
    )
    assert crawl.counts == {"seeded": 8, "pending": 2, "dead": 6, "dead:http 404": 2, "dead:TimeoutError": 4}
    assert "0 dead requests" in frontier("requeue", "--dead", "--reason", "item").out
    assert "6 dead requests" in frontier("requeue", "--dead", "--yes").out
    assert crawl.counts == {"seeded": 8, "pending": 8}
    scene.shard.check()


# --- Domains


def test_domains_in_trouble_come_first(frontier: Console, scene: Scene) -> None:
    scene.crawl("monday")
    worker = scene.worker("monday")
    worker.enqueue(*(request_for(f"http://{name}.example/") for name in ("bad", "good", "slow")))
    leases = {lease.domain: lease for lease in worker.lease()}
    worker.settle(crawl_delay("slow.example", 2500), ended(leases["good.example"], 40))
    for _ in range(scene.shard.limits.failures_to_open):
        worker.settle(ended(leases["bad.example"], verdict=1))

    told = frontier.json("domains")
    assert told["known"] == 3
    bad = told["domains"][0]
    assert (bad["domain"], bad["circuit"], bad["openings"]) == ("bad.example", "open", 1)
    assert bad["opens_in"] > 0
    [slow] = frontier.json("domains", "--domain", "slow.example")["domains"]
    assert (slow["delay"], slow["crawl_delay"], slow["in_flight"]) == (2.5, 2.5, 1)
    assert "open" in frontier("domains", "--top", "1").out
    assert frontier("domains", "--domain", "other.example").code == 2


def test_a_domain_that_is_forgotten_is_asked_again_at_once_and_keeps_its_limits(
    frontier: Console, scene: Scene
) -> None:
    crawl = scene.crawl("monday")
    scene.shard.limits.cool_down = HOUR_MS
    worker = scene.worker("monday")
    scene.shard.set_domain("shop.example", c=7)
    worker.enqueue(*(request_for(f"http://shop.example/{number}") for number in range(9)))
    held, *others = worker.lease(4)
    for lease in others:
        worker.settle(ended(lease, verdict=2, retry_after=HOUR_MS), retry(lease, HOUR_MS))
    assert worker.lease() == []

    assert frontier("domains", "--forget", "shop.example").code == 2
    assert worker.lease() == []
    told = frontier.json("domains", "--forget", "shop.example", "--yes")["domains"][0]
    assert (told["circuit"], told["slow_down"], told["opens_in"]) == ("closed", 1.0, 0.0)
    assert (told["in_flight"], told["concurrency"]) == (1, 7)
    assert len(worker.lease()) == 5
    worker.settle(settle(held))
    assert crawl.counts["delivered"] == 1
    scene.shard.check()


# --- Purge


def test_a_purged_crawl_leaves_nothing_behind_but_what_the_fleet_knows_of_domains(
    frontier: Console, scene: Scene
) -> None:
    scene.crawl("monday")
    monday = scene.worker("monday")
    monday.enqueue(*(request_for(f"http://shop.example/{number}") for number in range(10)))
    first, *_ = monday.lease(4)
    monday.settle(settle(first))
    scene.crawl("monday-2")
    other = scene.worker("monday-2")
    other.enqueue(*(request_for(f"http://shop.example/{number}") for number in range(10)))
    kept = scene.names(f"{SPIDER}:monday-2:*")
    assert len(other.lease(1)) == 1
    assert other.lease() == [], "the domain has no place left, and the crawl waits"

    refused = frontier("purge", "--crawl", "monday", "--yes")
    assert refused.code == 2
    assert f"crawl monday has workers: {monday.name}" in refused.err
    assert frontier("purge", "--crawl", "monday").code == 2

    assert frontier("purge", "--crawl", "monday", "--force", "--yes").code == 0
    assert scene.names(f"{SPIDER}:monday:*") == []
    assert set(kept) <= set(scene.names(f"{SPIDER}:monday-2:*"))
    assert scene.redis.hexists(f"{scene.registry}:open", Definition(source="monday").digest) is False
    assert [one["crawl"] for one in frontier.json("crawls")["crawls"]] == ["monday-2"]
    assert len(other.lease()) == 3, "the places of the purged crawl's worker are free"
    assert monday.ask().state == "gone"
    assert frontier("why", "http://shop.example/1", "--crawl", "monday").code == 2


def test_every_complete_crawl_is_purged_and_no_other(frontier: Console, scene: Scene) -> None:
    for name in ("monday", "tuesday", "wednesday"):
        scene.crawl(name)
        assert name == "wednesday" or scene.complete(name) == "complete"
    assert frontier("purge", "--all-complete").code == 2
    assert frontier("purge", "--all-complete", "--yes").out.startswith("removed 2 complete crawls")
    assert [one["crawl"] for one in frontier.json("crawls")["crawls"]] == ["wednesday"]

"""`scrapy frontier` as an operator uses it, on a real Redis and, where that tells more, on real crawls."""

from __future__ import annotations

import json
import os
import pty
import secrets
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from crawlers.frontier.crawls import LIST, Definition
from crawlers.frontier.keys import Keys
from deploy.demo_shop import DemoShop
from tests.fleet import FrontierSeine, links
from tests.frontier_console import SPIDER, Console, Scene, request_for
from tests.frontier_shard import LIVES, crawl_delay, ended, retry, settle
from tests.servers.ports import free_port
from tests.servers.redis import RedisServer
from tests.servers.web import Page, WebServer
from tests.support import ROOT, Finished

HOUR_MS = 3_600_000
SITE = 'name = "demo"\ndomains = ["demo.example"]\nseeds = ["http://demo.example/"]\n'


@pytest.fixture
def frontier(
    fleet: FrontierSeine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, sites: Path
) -> Console:
    monkeypatch.setenv("SCRAPY_SETTINGS_MODULE", "crawlers.settings")
    (sites / "demo.toml").write_text(SITE)
    return Console(fleet.env, capsys)


@pytest.fixture
def scene(fleet: FrontierSeine) -> Scene:
    return Scene(fleet)


def answer(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    """There is a terminal, and somebody at it."""
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda question: word)


# --- A crawl as it is shown


@pytest.fixture(scope="module")
def crawled(
    redis_server: RedisServer, running_demo_shop: DemoShop, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[FrontierSeine, Finished]]:
    """A crawl of 60 pages of the demo shop that is over."""
    folder = tmp_path_factory.mktemp("crawled")
    (folder / "demo.toml").write_text(running_demo_shop.site_toml().replace("pages = 5000", "pages = 60"))
    env = {"REDIS_URL": redis_server.url, "FRONTIER_NAMESPACE": f"test-{secrets.token_hex(4)}"}
    with redis_server.client() as client:
        fleet = FrontierSeine(folder, {**env, "SITES_DIR": str(folder)}, client)
        yield fleet, fleet.crawl(DOWNLOAD_DELAY=0)


@pytest.fixture
def shown(
    crawled: tuple[FrontierSeine, Finished], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Console:
    """The console of that crawl's fleet."""
    monkeypatch.setenv("SCRAPY_SETTINGS_MODULE", "crawlers.settings")
    return Console(crawled[0].env, capsys)


def test_status_tells_the_equation_of_a_crawl(shown: Console, crawled: tuple[FrontierSeine, Finished]) -> None:
    finished = crawled[1]
    assert finished.code == 0, finished.err[-2000:]
    told = shown.json("status")
    assert told["state"] == "complete"
    assert told["definition"] == {"follow": True, "sites": ["demo"]}
    assert told["known"] == told["accounted"] == sum(told["left"].values()) == sum(told["right"].values())
    assert told["left"]["seeded"] == 5
    assert told["right"]["delivered"] == len(finished.events("request", outcome="delivered"))
    assert told["filtered"]["page limit"] > 0
    assert sum(told["filtered"].values()) == told["right"]["filtered"]
    assert told["per_second"]["average"] > 0
    assert told["workers"] == []

    text = shown("status").out
    assert text.startswith(f"crawl {told['crawl']} of product_spider: complete, opened")
    assert f"{told['known']} = 5 seeded + {told['left']['discovered']} discovered" in text
    assert "adds up" in text
    assert "\x1b" not in text, "colours are for terminals"


def test_crawls_are_listed(shown: Console) -> None:
    [one] = shown.json("crawls")["crawls"]
    assert (one["state"], one["open"], one["balanced"]) == ("complete", 0, True)
    line = shown("crawls").out.splitlines()[1]
    assert line.split()[:2] == [one["crawl"], "complete"]
    assert line.rstrip().endswith("sites demo")


def test_why_tells_what_became_of_a_page(shown: Console, crawled: tuple[FrontierSeine, Finished]) -> None:
    page = crawled[1].events("request", outcome="delivered")[0]["url"]
    [delivered] = shown.json("why", page)["requests"]
    assert (delivered["fate"], delivered["attempts"]) == ("delivered", 1)
    assert 0 <= delivered["ago"] < 300
    [again] = shown.json("why", f"{page}#reviews")["requests"]
    assert again["fate"] == "delivered", "a fragment is the same request"
    assert "delivered" in shown("why", page).out

    unknown = shown("why", "http://elsewhere.example/")
    assert unknown.code == 1
    assert "not known in this crawl" in unknown.out


def test_what_is_looked_at_is_paged(
    shown: Console, crawled: tuple[FrontierSeine, Finished], redis_server: RedisServer
) -> None:
    page = crawled[1].events("request", outcome="delivered")[0]["url"]
    with redis_server.client() as client:
        client.config_resetstat()
        for asked in (["status"], ["why", page], ["domains"], ["crawls"]):
            assert shown(*asked).code == 0
        used = {name.removeprefix("cmdstat_") for name in client.info("commandstats")}
    assert used.isdisjoint({"keys", "smembers", "hkeys", "hvals", "lrange", "zrangebyscore"}), used
    assert {"scan", "zscan", "hscan"} <= used


# --- Requests on their way


def test_why_finds_a_request_wherever_it_is(frontier: Console, scene: Scene) -> None:
    scene.crawl("monday")
    worker = scene.worker("monday")
    urls = {
        name: f"http://{name}.example/[p]?x=*" for name in ("leased", "delayed", "dead", "empty", "robots", "pending")
    }
    worker.enqueue(*(request_for(url) for url in urls.values()))
    leases = {lease.domain.partition(".")[0]: lease for lease in worker.lease()}
    worker.settle(
        retry(leases["delayed"], HOUR_MS, "http 503"),
        settle(leases["dead"], "dead", "http 404"),
        settle(leases["empty"], "empty"),
        settle(leases["robots"], "filtered", "robots"),
        ("release", leases["pending"].id, leases["pending"].token, 0),
    )

    def fate(name: str) -> dict[str, Any]:
        [found] = frontier.json("why", urls[name])["requests"]
        return found

    assert (fate("pending")["fate"], fate("pending")["before"]) == ("pending", 0)
    assert (fate("leased")["fate"], fate("leased")["domain"]) == ("leased", "leased.example")
    assert worker.name in fate("leased")["worker"]
    assert fate("delayed")["due_in"] == pytest.approx(3600, abs=20)
    assert fate("delayed")["tries"] == ["http 503"]
    assert (fate("dead")["fate"], fate("dead")["reason"], fate("dead")["attempts"]) == ("dead", "http 404", 1)
    assert fate("empty")["fate"] == "empty"
    assert (fate("robots")["fate"], fate("robots")["reason"]) == ("filtered", "robots")


def test_why_finds_one_among_many_and_tells_copies_apart(frontier: Console, scene: Scene) -> None:
    scene.crawl("monday")
    worker = scene.worker("monday")
    url, copy = "http://shop.example/p/1", os.urandom(8)
    worker.enqueue(*(request_for(f"http://shop.example/p/{number}") for number in range(3000)))
    worker.enqueue(request_for(url, copy=copy))
    scene.redis.delete(f"{scene.shard.keys.crawl(0, 'monday')}:done")
    first, second = frontier.json("why", url)["requests"]
    assert (first["fate"], first["before"], first["unfiltered"]) == ("pending", 1, False)
    assert (second["fate"], second["before"], second["unfiltered"]) == ("pending", 3000, True)


def test_why_says_when_an_outcome_is_no_longer_kept(frontier: Console, scene: Scene) -> None:
    crawl = scene.crawl("monday")
    worker = scene.worker("monday")
    url = "http://shop.example/"
    worker.enqueue(request_for(url))
    [lease] = worker.lease()
    worker.settle(settle(lease))
    assert frontier.json("why", url)["requests"][0]["fate"] == "delivered"
    for name in scene.redis.scan_iter(f"{crawl.root}:done:*"):
        scene.redis.delete(name)
    assert frontier.json("why", url)["requests"][0]["fate"] == "forgotten"
    assert "its outcome not kept" in frontier("why", url).out


def test_why_looks_where_a_sites_domains_share_a_budget(frontier: Console, scene: Scene, sites: Path) -> None:
    (sites / "demo.toml").write_text(f"{SITE}[limits]\nshared = true\n")
    scene.crawl("monday")
    worker = scene.worker("monday")
    url = "http://demo.example/p/1"
    worker.enqueue(request_for(url)._replace(domain="demo"))
    [found] = frontier.json("why", url)["requests"]
    assert (found["fate"], found["domain"]) == ("pending", "demo")


def test_status_shows_the_longest_queues_parked_domains_too_and_who_works(frontier: Console, scene: Scene) -> None:
    scene.crawl("monday")
    worker, other = scene.worker("monday"), scene.worker("monday")
    worker.enqueue(*(request_for(f"http://busy.example/{number}") for number in range(20)))
    worker.enqueue(*(request_for(f"http://idle.example/{number}") for number in range(5)))
    taken = worker.lease(per_domain=4)
    assert {lease.domain for lease in taken} == {"busy.example", "idle.example"}
    scene.redis.zadd(f"{scene.shard.root}:workers", {other.name: time.time() * 1000 - 1})

    told = frontier.json("status", FRONTIER_LEASE_SECONDS=LIVES / 1000)
    assert [(one["politeness"]["domain"], one["queued"], one["leased"]) for one in told["top"]] == [
        ("busy.example", 16, 4),
        ("idle.example", 1, 4),
    ], "both are at their limit, and wait in no list"
    assert told["domains"] == 0
    alive = {one["id"]: (one["leases"], one["alive"]) for one in told["workers"]}
    assert alive == {worker.name: (8, True), other.name: (0, False)}
    assert [one["heartbeat"] < 20 for one in told["workers"] if one["alive"]] == [True]
    assert "silent" in frontier("status").out
    assert len(frontier.json("status", "--top", "1")["top"]) == 1


def test_status_tells_how_long_the_oldest_open_request_has_waited(frontier: Console, scene: Scene) -> None:
    crawl = scene.crawl("monday")
    worker = scene.worker("monday")
    crawl.set(began=round((time.time() - 7300) * 1000))
    worker.enqueue(request_for("http://shop.example/late"))
    late = worker.lease()
    scene.redis.hset(f"{crawl.root}:ages", "2", 1)
    assert 7100 < frontier.json("status")["oldest"] < 7300
    assert "the oldest request without an outcome for 1 h 59 min" in frontier("status").out
    scene.redis.hdel(f"{crawl.root}:ages", "2")
    assert 0 <= frontier.json("status")["oldest"] < 120
    worker.settle(settle(late[0]))
    assert frontier.json("status")["oldest"] is None


def test_a_status_that_is_watched_tells_the_rate_since_the_last_look(fleet: FrontierSeine, scene: Scene) -> None:
    scene.crawl("monday")
    worker = scene.worker("monday")
    worker.enqueue(*(request_for(f"http://shop.example/{number}") for number in range(4)))
    leases = worker.lease()
    watching = fleet.start("frontier", "status", "--watch", "--json")
    assert watching.stdout is not None
    try:
        assert "now" not in json.loads(watching.stdout.readline())["per_second"]
        worker.settle(*(settle(lease) for lease in leases))
        assert any(json.loads(watching.stdout.readline())["per_second"]["now"] > 0 for _ in range(3))
    finally:
        watching.send_signal(signal.SIGINT)
        _, err = watching.communicate(timeout=20)
    assert (watching.returncode, err) == (0, "")


def test_a_watched_status_is_drawn_on_a_terminal(fleet: FrontierSeine, scene: Scene) -> None:
    scene.crawl("monday")
    master, terminal = pty.openpty()
    command = [sys.executable, "-m", "scrapy", "frontier", "status", "--watch"]
    env = {**fleet.env, "TERM": "xterm-256color", "COLUMNS": "100"}
    watching = subprocess.Popen(command, cwd=ROOT, env=env, stdin=terminal, stdout=terminal, stderr=terminal)
    os.close(terminal)
    try:
        screen = b""
        while screen.count(b"no worker is at it") < 2:
            assert select.select([master], [], [], 20)[0], screen
            screen += os.read(master, 65_536)
    finally:
        watching.send_signal(signal.SIGINT)
        assert watching.wait(20) == 0
        os.close(master)
    assert b"\x1b[32mrunning" in screen


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
    unasked = frontier("cancel")
    assert unasked.code == 2
    assert unasked.err.startswith("seine: Cancel crawl monday, with 1 requests that have no outcome? Add --yes")
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


# --- Lists


def test_a_list_is_seeded_and_fetched_by_a_worker_that_is_told_the_crawls_name(
    fleet: FrontierSeine, frontier: Console, shop: DemoShop, sites: Path
) -> None:
    (sites / "demo.toml").write_text(shop.site_toml())
    rows = [row for row in shop.truth() if row["markup"] == "json-ld" and row["reachable"]][:3]
    listed = fleet.folder / "urls.txt"
    lines = [
        "\ufeff# three of them",
        *(row["url"] for row in rows),
        "htp://typo",
        "",
        f"{rows[0]['url']}#again",
        "x" * 99,
    ]
    listed.write_text("\n".join(lines), encoding="utf-8")

    seeded = frontier("seed", str(listed))
    assert seeded.code == 2
    assert f"{listed}:5: htp://typo: expected an http or https URL" in seeded.err
    assert f"{listed}:8: xxx" in seeded.err
    assert "3 new, 1 known already, 2 refused" in seeded.out
    told = frontier.json("status")
    assert (told["state"], told["left"]["seeded"], told["right"]["pending"]) == ("running", 3, 3)
    assert told["lists"] == [{**told["lists"][0], "source": "urls.txt", "lines": 8, "refused": 2, "done": True}]

    finished = fleet.crawl("-O", str(fleet.folder / "out.jsonl"), FRONTIER_CRAWL_ID=told["crawl"])
    assert finished.code == 0, finished.err[-2000:]
    items = [json.loads(line) for line in (fleet.folder / "out.jsonl").read_text().splitlines()]
    assert {(item["sku"], item["site"]) for item in items} == {(row["sku"], "demo") for row in rows}
    assert len(finished.events("request")) == 3, "links of a list's pages are not followed"
    assert frontier.json("status")["state"] == "complete"


def test_seeding_that_was_cut_off_goes_on_where_it_was(fleet: FrontierSeine, frontier: Console, scene: Scene) -> None:
    listed = fleet.folder / "urls.txt"
    listed.write_text("".join(f"http://shop{number % 50}.example/p/{number}\n" for number in range(24_000)))
    first = fleet.start("frontier", "seed", str(listed), "--crawl", "list-1")
    lists = f"{scene.shard.keys.crawl(0, 'list-1')}:lists"
    while not (noted := json.loads(scene.redis.hget(lists, "urls.txt") or "{}")).get("lines"):
        assert first.poll() is None
        time.sleep(0.01)
    first.send_signal(signal.SIGINT)
    _, err = first.communicate(timeout=20)
    assert first.returncode == 130
    assert "the same command goes on from there" in err
    assert "Traceback" not in err

    told = frontier.json("status")
    assert (told["crawl"], told["seeding"], told["lists"][0]["done"]) == ("list-1", "list", False)
    assert told["left"]["seeded"] >= noted["lines"]
    assert scene.complete("list-1") == "running", "it is not all there"

    second = frontier("seed", str(listed))
    assert second.code == 0, second.err
    assert f"24,000 lines of urls.txt, {told['lists'][0]['lines']:,} of them before" in second.out
    told = frontier.json("status")
    assert (told["crawl"], told["left"]["seeded"], told["seeding"]) == ("list-1", 24_000, "done")
    with listed.open("a") as file:
        file.write("http://shop0.example/one-more\n")
    assert "1 new, 0 known already" in frontier("seed", str(listed)).out


def test_a_list_that_changed_is_seeded_from_its_beginning(fleet: FrontierSeine, frontier: Console) -> None:
    listed = fleet.folder / "urls.txt"
    listed.write_text("http://a.example/\nhttp://b.example/\n")
    assert "2 new" in frontier("seed", str(listed), "--crawl", "list-1").out
    listed.write_text("http://c.example/\nhttp://b.example/\nhttp://a.example/\n")
    assert "1 new, 2 known already" in frontier("seed", str(listed), "--crawl", "list-1").out


def test_a_crawl_is_not_complete_while_a_list_comes_in_by_standard_input(
    fleet: FrontierSeine, frontier: Console, scene: Scene
) -> None:
    scene.crawl("monday")
    command = [sys.executable, "-m", "scrapy", "frontier", "seed", "-", "--crawl", "monday"]
    seeding = subprocess.Popen(
        command, cwd=ROOT, env=fleet.env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert seeding.stdin is not None
    while not scene.redis.exists(f"{scene.shard.keys.crawl(0, 'monday')}:lists"):
        assert seeding.poll() is None
        time.sleep(0.01)
    assert scene.complete("monday") == "running"
    assert [one["name"] for one in frontier.json("status")["workers"]] == ["seed stdin"]
    out, _ = seeding.communicate("http://a.example/\nhttp://b.example/", timeout=30)
    assert seeding.returncode == 0
    assert "2 lines of stdin" in out
    told = frontier.json("status")
    assert (told["right"]["pending"], told["workers"]) == (2, [])
    assert scene.complete("monday") == "complete"
    refused = frontier("seed", os.devnull, "--crawl", "monday")
    assert refused.code == 2
    assert "crawl monday is complete" in refused.err


def test_no_worker_seeds_what_is_a_lists_to_seed(frontier: Console, scene: Scene, fleet: FrontierSeine) -> None:
    """A worker that has joined by name waits for the list, and does not take its own sites for the crawl's."""
    about = Definition(follow=False, source=f"{LIST}urls.txt")
    scene.shard.run("open", scene.registry, about.digest, about.text, "list-1", "", 1, "[]", "list")
    scene.shard.crawl("list-1")
    claim = scene.shard.run("seeding", scene.registry, "list-1", "worker", "claim", 1000)
    assert claim == [b"taken"]
    assert scene.complete("list-1") == "running"
    assert "not done: a list" in frontier("status").out
    scene.shard.run("seeding", scene.registry, "list-1", "seeder", "listed", 0)
    assert scene.complete("list-1") == "complete"


def test_the_crawl_of_a_list_says_whether_links_are_followed(fleet: FrontierSeine, frontier: Console) -> None:
    listed = fleet.folder / "urls.txt"
    listed.write_text("http://a.example/\n")
    assert frontier("seed", str(listed), "--follow").code == 0
    assert frontier.json("status")["definition"] == {"follow": True, "source": f"{LIST}urls.txt"}
    assert frontier("seed", str(listed)).code == 0
    assert frontier.json("status")["definition"] == {"follow": False, "source": f"{LIST}urls.txt"}


def test_what_a_restart_of_redis_lost_is_seeded_again(
    fleet: FrontierSeine, capsys: pytest.CaptureFixture[str], frontier: Console, tmp_path: Path
) -> None:
    """The server comes back as it was when a quarter of the list was in."""
    listed = fleet.folder / "urls.txt"
    listed.write_text("".join(f"http://shop{number % 50}.example/p/{number}\n" for number in range(16_000)))
    with RedisServer(tmp_path / "redis") as server:
        console = Console({**fleet.env, "REDIS_URL": server.url}, capsys)
        lists = f"{Keys(fleet.env['FRONTIER_NAMESPACE'], SPIDER).crawl(0, 'list-1')}:lists"

        def go_back_in_time() -> None:
            with server.client() as client:
                while lines_of(client, lists) < 5000:
                    time.sleep(0.005)
                client.save()
                while lines_of(client, lists) < 10_000:
                    time.sleep(0.005)
            server.kill()
            server.start()

        thread = threading.Thread(target=go_back_in_time)
        thread.start()
        seeded = console("seed", str(listed), "--crawl", "list-1")
        thread.join()
        assert seeded.code == 0, seeded.err
        told = console.json("status")
        assert (told["left"]["seeded"], told["right"]["pending"]) == (16_000, 16_000)
        assert told["beside"]["duplicates"] >= 5000


def lines_of(client: Redis, lists: str) -> int:
    """How much of the list is noted."""
    return int(json.loads(client.hget(lists, "urls.txt") or "{}").get("lines", 0))


@pytest.mark.parametrize("shards", [3])
def test_a_crawl_over_shards_is_one_crawl(frontier: Console, scene: Scene, fleet: FrontierSeine, shards: int) -> None:
    listed = fleet.folder / "urls.txt"
    urls = [f"http://shop{number % 20}.example/p/{number}" for number in range(200)]
    listed.write_text("\n".join(urls))
    of = {"FRONTIER_SHARDS": shards}
    assert frontier("seed", str(listed), "--crawl", "list-1", **of).code == 0
    told = frontier.json("status", "--top", "100", **of)
    assert (told["known"], told["balanced"], told["domains"]) == (200, True, 20)
    assert sum(one["queued"] for one in told["top"]) == 200
    assert {frontier.json("why", url, **of)["requests"][0]["shard"] for url in urls[:20]} == {0, 1, 2}
    assert frontier("purge", "--crawl", "list-1", "--yes", **of).code == 0
    assert not [name for name in scene.redis.scan_iter(f"{scene.shard.keys.namespace}:*") if b"list-1" in name]


def test_a_fleet_that_waits_takes_up_a_list(
    fleet: FrontierSeine, frontier: Console, sites: Path, web: Callable[..., WebServer]
) -> None:
    server = web({"/": Page("x"), "/listed": Page("x")})
    (sites / "demo.toml").write_text(
        SITE.replace("http://demo.example", server.url).replace("demo.example", server.domain)
    )
    listed = fleet.folder / "urls.txt"
    listed.write_text(f"{server.url}/listed")
    waiting = fleet.start("crawl", SPIDER, "-s", "FRONTIER_WAIT=1", "-s", "ROBOTSTXT_OBEY=0")
    try:
        server.wait_for(1)
        assert frontier("seed", str(listed)).code == 0
        server.wait_for(2)
    finally:
        waiting.terminate()
        _, err = waiting.communicate(timeout=30)
    assert waiting.returncode == 0, err[-2000:]
    assert [visit.path for visit in server.visits] == ["/", "/listed"]


def test_a_worker_that_cannot_do_a_crawls_work_does_not_join_it_by_name(
    fleet: FrontierSeine, frontier: Console, scene: Scene
) -> None:
    scene.crawl("sites", Definition(sites=("demo", "elsewhere")))
    scene.crawl("urls", Definition(urls=("http://a.example/",), follow=False))
    workers = {name: fleet.start("crawl", SPIDER, "-s", f"FRONTIER_CRAWL_ID={name}") for name in ("sites", "urls")}
    said = {name: worker.communicate(timeout=30)[1].splitlines()[-1] for name, worker in workers.items()}
    assert [worker.returncode for worker in workers.values()] == [2, 2]
    assert said["sites"] == "seine: crawl sites is of sites that are unknown here: elsewhere"
    assert said["urls"] == "seine: crawl urls is one of given URLs: give its workers the same -a urls="


# --- Mistakes


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ([], "expected one of status, crawls, why"),
        (["statsu"], "scrapy frontier statsu: expected one of"),
        (["status", "extra"], "expected: scrapy frontier status"),
        (["status", "--bogus"], "unknown option --bogus"),
        (["status", "--dead"], "--dead does not belong here"),
        (["status", "--top", "many"], "invalid int value: 'many'"),
        (["status", "--top", "0"], "--top 0: expected 1 or more"),
        (["status", "--crawl"], "argument --crawl: expected one argument"),
        (["status"], "no crawl of product_spider yet"),
        (["status", "--crawl", "nope"], "no crawl nope of product_spider: `scrapy frontier crawls` lists them"),
        (["why"], "expected: scrapy frontier why URL"),
        (["why", "shop.example"], "shop.example: expected an http or https URL"),
        (["why", "http://a.example/", "--spider", "nope"], "unknown spider 'nope'"),
        (["pause"], "no crawl of product_spider is open"),
        (["requeue"], "add --dead"),
        (["purge"], "either --crawl ID or --all-complete"),
        (["domains", "--forget", "a.example"], "no domain a.example is known"),
        (["seed", "/no/such/file"], "/no/such/file: No such file or directory"),
        (["seed", "/"], "/: Is a directory"),
        (["seed", "/dev/null", "--crawl", "a:b"], "expected a crawl's name"),
    ],
)
def test_a_mistake_is_told_in_one_line(frontier: Console, args: list[str], expected: str) -> None:
    finished = frontier(*args)
    assert finished.code == 2
    [line] = finished.err.splitlines()
    assert line.startswith("seine: ")
    assert expected in line


def test_a_redis_that_cannot_be_used_is_told_in_one_line(frontier: Console, redis_server: RedisServer) -> None:
    nowhere = f"redis://:secret@127.0.0.1:{free_port()}/0"
    for url, code in ((nowhere, 1), ("", 2)):
        finished = frontier("status", REDIS_URL=url)
        assert finished.code == code
        [line] = finished.err.splitlines()
        assert "REDIS_URL" in line
        assert "secret" not in line


def test_a_crawl_of_other_shards_is_not_looked_at_by_halves(frontier: Console, scene: Scene) -> None:
    scene.crawl("monday")
    refused = frontier("status", FRONTIER_SHARDS=3)
    assert refused.code == 2
    assert "set FRONTIER_SHARDS=1" in refused.err

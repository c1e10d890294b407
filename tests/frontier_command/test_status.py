"""What `scrapy frontier` tells of crawls, and of requests."""

from __future__ import annotations

import json
import os
import pty
import secrets
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.demo_shop import DemoShop
from tests.fleet import FrontierSeine
from tests.frontier_console import HOUR_MS, SITE, Console, Scene, request_for
from tests.frontier_shard import LIVES, retry, settle
from tests.servers.redis import RedisServer
from tests.support import ROOT, Finished

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

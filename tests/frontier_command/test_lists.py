"""`scrapy frontier seed`: a list of URLs becomes a crawl."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis

from crawlers.frontier.crawls import LIST, Definition
from crawlers.frontier.keys import Keys
from deploy.demo_shop import DemoShop
from tests.fleet import FrontierSeine
from tests.frontier_console import SITE, SPIDER, Console, Scene
from tests.polling import until
from tests.servers.redis import RedisServer
from tests.servers.web import Page, WebServer
from tests.support import ROOT


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

    def lines_noted() -> int:
        assert first.poll() is None
        return int(json.loads(scene.redis.hget(lists, "urls.txt") or "{}").get("lines", 0))

    noted = until(lines_noted, "nothing is seeded")
    first.send_signal(signal.SIGINT)
    _, err = first.communicate(timeout=20)
    assert first.returncode == 130
    assert "the same command goes on from there" in err
    assert "Traceback" not in err

    told = frontier.json("status")
    assert (told["crawl"], told["seeding"], told["lists"][0]["done"]) == ("list-1", "list", False)
    assert told["left"]["seeded"] >= noted
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
    lists = f"{scene.shard.keys.crawl(0, 'monday')}:lists"
    until(lambda: scene.redis.exists(lists) or seeding.poll() is not None, "no list is being seeded")
    assert seeding.poll() is None
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
    """The server comes back as it was when a third of the list was in."""
    listed = fleet.folder / "urls.txt"
    listed.write_text("".join(f"http://shop{number % 50}.example/p/{number}\n" for number in range(16_000)))
    with RedisServer(tmp_path / "redis") as server:
        console = Console({**fleet.env, "REDIS_URL": server.url}, capsys)
        lists = f"{Keys(fleet.env['FRONTIER_NAMESPACE'], SPIDER).crawl(0, 'list-1')}:lists"

        def go_back_in_time() -> None:
            with server.client() as client:
                until(lambda: lines_of(client, lists) >= 5_000, "a third is not seeded")
                client.save()
                until(lambda: lines_of(client, lists) >= 10_000, "two thirds are not seeded")
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

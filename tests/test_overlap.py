"""A second start of a crawl that is at work already: it joins or is skipped, as CRAWL_OVERLAP says."""

from __future__ import annotations

import asyncio
import secrets
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from scrapy.settings import Settings

from crawlers.exceptions import Skipped, UserError
from crawlers.frontier.connection import Servers
from crawlers.frontier.control import Control
from crawlers.frontier.crawls import Crawls, Definition
from crawlers.frontier.keys import Keys
from crawlers.settings_check import check_settings
from tests.fleet import FrontierSeine, links
from tests.polling import until
from tests.servers.redis import RedisServer
from tests.servers.web import Page, WebServer

RESTING = {"FRONTIER_WAIT": 1, "CRAWL_OPEN": 0}


def site(web: Callable[..., WebServer], pages: int = 5) -> WebServer:
    return web({"/": links(*(f"/n{i}" for i in range(pages))), **{f"/n{i}": Page("x") for i in range(pages)}})


def crawl(server: WebServer, fleet: FrontierSeine, **settings: object) -> list[str]:
    return ["crawl", "path_spider", "-a", f"url={server.url}/", *fleet.options(**settings)]


def crawls_of(fleet: FrontierSeine) -> list[str]:
    return [name.decode() for name in fleet.redis.zrange(f"{fleet.keys.registry}:crawls", 0, -1)]


def rests_in(log: Path) -> bool:
    return log.is_file() and "waiting for a crawl to join" in log.read_text()


def workers_of(fleet: FrontierSeine) -> int:
    return int(fleet.redis.zcard(f"{fleet.keys.shard(0)}:workers"))


def test_a_second_start_is_skipped_in_one_line_while_the_first_is_at_work(
    fleet: FrontierSeine, web: Callable[..., WebServer]
) -> None:
    server = site(web)
    server.may_answer.clear()
    first = fleet.start(*crawl(server, fleet, CRAWL_OVERLAP="skip"))
    until(lambda: server.visits, "nothing is fetched")
    second = fleet.run(*crawl(server, fleet, CRAWL_OVERLAP="skip"))
    assert second.code == 0
    told = [line for line in second.err.splitlines() if line.startswith("seine: ")]
    [name] = crawls_of(fleet)
    assert told == [f"seine: skipped: workers are at crawl {name} already; CRAWL_OVERLAP=join would join them"]
    assert "Traceback" not in second.err
    as_told = fleet.run(*crawl(server, fleet, CRAWL_OVERLAP="skip", CRAWL_SKIPPED_EXIT_CODE=75))
    assert as_told.code == 75
    server.may_answer.set()
    assert first.communicate(timeout=60)[1]
    assert first.returncode == 0
    assert len(server.visits) == 6


def test_a_start_that_joins_joins_what_a_skipping_one_opened(
    fleet: FrontierSeine, web: Callable[..., WebServer]
) -> None:
    server = site(web)
    server.may_answer.clear()
    workers = [fleet.start(*crawl(server, fleet, CRAWL_OVERLAP="skip"))]
    until(lambda: server.visits, "nothing is fetched")
    workers.append(fleet.start(*crawl(server, fleet)))
    until(lambda: workers_of(fleet) == 2, "it does not join")
    server.may_answer.set()
    assert [worker.wait(60) for worker in workers] == [0, 0]
    assert len(crawls_of(fleet)) == 1


@pytest.mark.parametrize(("ending", "lease"), [(signal.SIGKILL, 1), (signal.SIGTERM, 600)])
def test_a_crawl_that_its_workers_left_is_gone_on_with_and_not_skipped_for_ever(
    fleet: FrontierSeine, web: Callable[..., WebServer], ending: signal.Signals, lease: int
) -> None:
    """One that was killed is missed when its lease of life ends; one that was told to end leaves at once."""
    lives = {"CRAWL_OVERLAP": "skip", "FRONTIER_LEASE_SECONDS": lease}
    server = site(web)
    server.may_answer.clear()
    first = fleet.start(*crawl(server, fleet, FRONTIER_DRAIN_SECONDS=0.1, **lives))
    until(lambda: server.visits, "nothing is fetched")
    first.send_signal(ending)
    first.wait(60)
    server.may_answer.set()
    live = f"{fleet.keys.shard(0)}:workers"
    until(lambda: not fleet.redis.zcount(live, _now(fleet), "+inf"), "its lease of life does not end")
    finished = fleet.run(*crawl(server, fleet, **lives))
    assert finished.code == 0, finished.err[-2000:]
    assert "skipped" not in finished.err
    assert fleet.ended(finished, server).counts["empty"] == 5
    assert len(crawls_of(fleet)) == 1


def test_of_many_starts_at_once_exactly_one_opens_and_the_others_are_skipped(redis_server: RedisServer) -> None:
    """Before any of them has registered: the decision is one script's."""
    servers = Servers.from_settings(Settings({"REDIS_URL": redis_server.url, "REDIS_TIMEOUT": 5.0}))

    async def start(control: Control) -> str:
        async def opening(crawls: Crawls) -> str:
            try:
                _, opened = await crawls.open(Definition(source="test"), overlap="skip", starting_ms=60_000)
            except Skipped:
                return "skipped"
            return "opened" if opened else "joined"

        found: str = await control.ask(opening)
        await control.close()
        return found

    async def all_at_once() -> list[str]:
        keys = Keys(f"test-{secrets.token_hex(4)}", "spider")
        return await asyncio.gather(*(start(Control(servers, keys)) for _ in range(20)))

    assert sorted(asyncio.run(all_at_once())) == ["opened", *["skipped"] * 19]


def test_two_commands_at_once_make_one_crawl_and_one_is_skipped(
    fleet: FrontierSeine, web: Callable[..., WebServer]
) -> None:
    server = site(web)
    server.may_answer.clear()
    both = [fleet.start(*crawl(server, fleet, CRAWL_OVERLAP="skip", CRAWL_SKIPPED_EXIT_CODE=75)) for _ in range(2)]
    until(lambda: any(one.poll() is not None for one in both), "nobody is skipped")
    server.may_answer.set()
    assert sorted(one.wait(60) for one in both) == [0, 75]
    assert len(crawls_of(fleet)) == 1


def test_a_standing_worker_opens_nothing_and_joins_what_a_schedule_opens(
    fleet: FrontierSeine, sites: Path, web: Callable[..., WebServer], tmp_path: Path
) -> None:
    """Twice: after a crawl it rests again."""
    server = site(web)
    fleet.env["SITES_DIR"] = str(sites)
    address = server.url.removeprefix("http://")
    (sites / "shop.toml").write_text(
        f'name = "shop"\ndomains = ["{address}"]\nseeds = ["{server.url}/"]\nfollow = {{ allow = ["/"] }}\n'
    )
    rests = ["-s", "FRONTIER_WAIT=1", "-s", "CRAWL_OPEN=0", "-s", "ROBOTSTXT_OBEY=0"]
    logged = tmp_path / "standing.log"
    standing = fleet.start("crawl", "product_spider", *rests, "--logfile", str(logged))
    registry = Keys(fleet.env["FRONTIER_NAMESPACE"], "product_spider").registry
    shard = fleet.keys.shard(0)
    until(lambda: rests_in(logged), "it does not rest")
    assert not fleet.redis.exists(f"{registry}:crawls")
    for number in (1, 2):
        server.may_answer.clear()
        scheduled = fleet.start("crawl", "product_spider", "-s", "CRAWL_OVERLAP=skip", "-s", "ROBOTSTXT_OBEY=0")
        until(lambda: fleet.redis.zcard(f"{shard}:workers") == 2, "it does not join")
        server.may_answer.set()
        assert scheduled.wait(60) == 0
        assert fleet.redis.zcard(f"{registry}:crawls") == number
        assert len(server.visits) == 6 * number
    standing.send_signal(signal.SIGTERM)
    assert standing.wait(60) == 0
    assert "Traceback" not in logged.read_text()


def test_a_worker_that_never_joined_anything_ends_well(fleet: FrontierSeine, tmp_path: Path) -> None:
    logged = tmp_path / "standing.log"
    options = fleet.options(**RESTING, LOG_FILE=logged)
    standing = fleet.start("crawl", "path_spider", "-a", "url=http://127.0.0.1:1/", *options)
    until(lambda: rests_in(logged), "it does not rest")
    standing.send_signal(signal.SIGTERM)
    assert standing.wait(60) == 0
    assert "Traceback" not in logged.read_text()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"CRAWL_OVERLAP": "queue"}, "CRAWL_OVERLAP=queue: expected one of join, skip"),
        ({"CRAWL_OVERLAP": "skip", "REDIS_URL": ""}, "CRAWL_OVERLAP=skip: only the frontier knows"),
        ({"CRAWL_OPEN": "0"}, "CRAWL_OPEN=0: one that opens no crawl has to wait"),
        ({"CRAWL_OPEN": "0", "FRONTIER_WAIT": "1", "REDIS_URL": ""}, "CRAWL_OPEN=0: one that opens no crawl"),
        ({"CRAWL_OVERLAP": "skip", "FRONTIER_WAIT": "1"}, "CRAWL_OVERLAP=skip and FRONTIER_WAIT=1: "),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, str], message: str) -> None:
    project = Settings()
    project.setmodule("crawlers.settings")
    project.update({"REDIS_URL": "redis://127.0.0.1:1", **settings})
    with pytest.raises(UserError) as caught:
        check_settings(project)
    assert str(caught.value).startswith(message)


def _now(fleet: FrontierSeine) -> int:
    seconds, micros = fleet.redis.time()
    return int(seconds * 1000 + micros // 1000)

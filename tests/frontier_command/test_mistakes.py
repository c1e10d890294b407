"""Mistakes, each told in one line."""

from __future__ import annotations

import pytest

from tests.frontier_console import Console, Scene
from tests.servers.ports import free_port
from tests.servers.redis import RedisServer


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
    assert expected in frontier.refused(*args)


def test_a_redis_that_cannot_be_used_is_told_in_one_line(frontier: Console, redis_server: RedisServer) -> None:
    nowhere = f"redis://:secret@127.0.0.1:{free_port()}/0"
    for url, code in ((nowhere, 1), ("", 2)):
        line = frontier.refused("status", code=code, REDIS_URL=url)
        assert "REDIS_URL" in line
        assert "secret" not in line


def test_a_crawl_of_other_shards_is_not_looked_at_by_halves(frontier: Console, scene: Scene) -> None:
    scene.crawl("monday")
    assert "set FRONTIER_SHARDS=1" in frontier.refused("status", FRONTIER_SHARDS=3)

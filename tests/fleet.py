"""Crawls of tests.spiders with a frontier of their own, and what Redis says of them when they are over."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack
from redis import Redis

from crawlers.frontier.keys import Keys
from tests.servers.web import Page, WebServer
from tests.support import Finished, Seine

TERMS = ("delivered", "expanded", "redirected", "empty", "filtered", "dead", "pending")


@dataclass
class Ended:
    """A crawl that is over, as Redis tells of it."""

    finished: Finished
    server: WebServer
    counts: dict[str, int]
    dead: dict[str, list[str]]
    """Reasons of all attempts, by path."""
    leased: int

    def of(self, *terms: str) -> dict[str, int]:
        return {term: self.counts.get(term, 0) for term in terms}


class FrontierSeine(Seine):
    """Crawls with a frontier of their own, by the spiders of tests.spiders."""

    def __init__(self, folder: Path, env: dict[str, str], redis: Redis):
        super().__init__(folder, env)
        self.redis = redis

    def options(self, **settings: Any) -> list[str]:
        given = {
            "SPIDER_MODULES": "tests.spiders",
            "ITEM_PIPELINES": '{"tests.spiders.Pipeline": 100}',
            "ROBOTSTXT_OBEY": 0,
            "RETRY_BACKOFF_SECONDS": 0.01,
            **settings,
        }
        return [part for name, value in given.items() for part in ("-s", f"{name}={value}")]

    def crawl_from(self, server: WebServer, path: str, **settings: Any) -> Ended:
        finished = self.run("crawl", "path_spider", "-a", f"url={server.url}{path}", *self.options(**settings))
        return self.ended(finished, server)

    def ended(self, finished: Finished, server: WebServer) -> Ended:
        [crawl] = self.redis.zrange(f"{self.keys.registry}:crawls", -1, -1)
        root = self.keys.crawl(0, crawl.decode())
        counts = {name.decode(): int(n) for name, n in self.redis.hgetall(f"{root}:counts").items()}
        leased, delayed = self.redis.hlen(f"{root}:leases"), self.redis.zcard(f"{root}:delayed")
        left = counts.get("seeded", 0) + counts.get("discovered", 0)
        assert left == sum(counts.get(term, 0) for term in TERMS) + leased + delayed, (counts, leased, delayed)
        return Ended(finished, server, counts, self._dead(root), leased)

    @property
    def keys(self) -> Keys:
        return Keys(self.env["FRONTIER_NAMESPACE"], "path_spider")

    def _dead(self, root: str) -> dict[str, list[str]]:
        dead = {}
        for packed in self.redis.hvals(f"{root}:dead"):
            _, _, request, _, reasons, *_ = msgpack.unpackb(packed, raw=True)
            url = msgpack.unpackb(request, raw=False)[0]
            dead["/" + url.partition("//")[2].partition("/")[2]] = [reason.decode() for reason in reasons]
        return dead


def links(*paths: str) -> Page:
    return Page("".join(f'<a href="{path}">x</a>' for path in paths))

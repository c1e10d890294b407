"""`scrapy frontier` in this process, and crawls whose requests are where a test puts them."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from scrapy import Request, cmdline
from scrapy.utils.project import get_project_settings
from scrapy.utils.request import fingerprint

from crawlers.domains import domain_of
from crawlers.frontier.crawls import Definition
from crawlers.frontier.keys import Keys
from crawlers.frontier.leases import NewRequest
from tests.fleet import FrontierSeine
from tests.frontier_shard import Crawl, Limits, Shard, Worker, decimal
from tests.support import Finished

SPIDER = "product_spider"
HOUR_MS = 3_600_000
SITE = 'name = "demo"\ndomains = ["demo.example"]\nseeds = ["http://demo.example/"]\n'
OF_A_FLEET = ("REDIS_URL", "FRONTIER_NAMESPACE", "SITES_DIR")
OF_KAFKA = (
    *("KAFKA_BOOTSTRAP_SERVERS", "KAFKA_TOPIC_PRODUCTS", "KAFKA_TOPIC_DEAD_LETTERS", "KAFKA_CREATE_TOPICS"),
    *("SCHEMA_REGISTRY_URL", "SCHEMA_REGISTRY_AUTO_REGISTER"),
)


class Console:
    """Runs `scrapy frontier`, or another command, as a shell does, with the settings of a fleet."""

    def __init__(self, env: dict[str, str], capsys: pytest.CaptureFixture[str], command: str = "frontier"):
        self._env = env
        self._capsys = capsys
        self._command = command

    def __call__(self, *args: str, **settings: Any) -> Finished:
        """The command's end."""
        given = get_project_settings()
        for name in (*OF_A_FLEET, *OF_KAFKA):
            if name in self._env:
                given.set(name, self._env[name], priority="cmdline")
        given.setdict(settings, priority="cmdline")
        self._capsys.readouterr()
        with _logging_restored(), pytest.raises(SystemExit) as ended:
            cmdline.execute(["scrapy", self._command, *args], settings=given)
        out, err = self._capsys.readouterr()
        return Finished(int(ended.value.code or 0), out, err)

    def refused(self, *args: str, code: int = 2, **settings: Any) -> str:
        """The one line with which the command says what is wrong, after its `seine: `."""
        finished = self(*args, **settings)
        assert finished.code == code, finished
        [line] = finished.err.splitlines()
        assert line.startswith("seine: ")
        return line.removeprefix("seine: ")

    def json(self, *args: str, **settings: Any) -> Any:
        """What the command tells with --json."""
        finished = self(*args, "--json", **settings)
        assert finished.code == 0, finished.err
        return json.loads(finished.out)


@contextmanager
def _logging_restored() -> Iterator[None]:
    handlers, level = list(logging.root.handlers), logging.root.level
    try:
        yield
    finally:
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)


class Scene:
    """Crawls of a fleet that no spider runs: tests are their workers."""

    def __init__(self, fleet: FrontierSeine):
        self.redis = fleet.redis
        self.shard = Shard(fleet.redis, Limits(seconds_kept=86_400), test_clock=False)
        self.shard.keys = Keys(fleet.env["FRONTIER_NAMESPACE"], SPIDER)
        self.shard.root = self.shard.keys.shard(0)
        self.registry = self.shard.keys.registry

    def crawl(self, name: str, definition: Definition | None = None, *, seeded: bool = True) -> Crawl:
        """An open crawl."""
        about = definition or Definition(source=name)
        self.shard.run("open", self.registry, about.digest, about.text, name, name, 1, json.dumps(about.sites), "")
        if seeded:
            self.shard.run("seeding", self.registry, name, "seeder", "claim", 1000)
            self.shard.run("seeding", self.registry, name, "seeder", "done", 0)
        return self.shard.crawl(name)

    def worker(self, crawl: str) -> Worker:
        return self.shard.worker(crawl)

    def state(self, crawl: str) -> tuple[str, str]:
        """(in the registry, in the shard)"""
        found = self.redis.hget(f"{self.registry}:crawl:{crawl}", "state")
        there = self.redis.hget(f"{self.shard.keys.crawl(0, crawl)}:meta", "state")
        return tuple((value or b"gone").decode() for value in (found, there))  # type: ignore[return-value]

    def complete(self, crawl: str) -> str:
        """The state that the crawl has after a worker found nothing more to do in it."""
        now, _ = self.shard.run("state", self.registry, crawl, "complete", 0)
        if now == b"complete":
            self.shard.crawls[crawl].set(state="complete")
        return now.decode()

    def names(self, pattern: str = "*") -> list[str]:
        """The keys of the fleet."""
        found = self.redis.scan_iter(f"{self.shard.root}:{pattern}", 1000)
        return sorted(name.decode().removeprefix(f"{self.shard.root}:") for name in found)


def request_for(url: str, *, copy: bytes = b"") -> NewRequest:
    """The request for a URL; with an id, one that is not to be filtered."""
    id_ = fingerprint(Request(url))[:8]
    new = copy or id_
    return NewRequest(new, decimal(new), domain_of(url), 0, url.encode(), 1, "", 0, id_ if copy else b"")

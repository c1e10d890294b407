"""Crawls that are disturbed: a shop that can hold its pages back, a worker on it, and what must be true in the end."""

from __future__ import annotations

import json
import secrets
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

from redis import Redis

from crawlers.frontier.keys import Keys
from tests.polling import until
from tests.servers.web import Page, WebServer
from tests.support import Consumed, Seine, consume

RECORDS = 40
"""SINK_HIGH_WATER_RECORDS of these crawls."""
CONCURRENT = 8
MOST_MEMORY = 300
"""MiB of a worker, at its peak. On Linux a fresh one has up to 180."""
LONGEST_STALL = 0.5
"""Seconds that an event loop may stand still in a blocking call; a real one lasts as long as a timeout of Kafka's."""
_TERMS = ("delivered", "expanded", "redirected", "empty", "filtered", "dead", "pending")

_SITE = """\
name = "outage"
domains = ["{domain}"]
seeds = ["http://{domain}/"]
[product]
allow = ["/p/"]
[limits]
delay = 0.0
concurrency = 32
"""
_PRODUCT = {"@context": "https://schema.org", "@type": "Product"}


class ShopPages(Mapping[str, Page]):
    """An index of `count` products, whose descriptions are `size` characters that no compression makes smaller.

    Of the products, the first `limit` that are asked for are answered; the others wait for `let_go()`.
    """

    def __init__(self, count: int, size: int = 500, sizes: Mapping[int, int] | None = None):
        self.count = count
        self._size = size
        self._sizes = sizes or {}
        self._changed = threading.Condition()
        self._asked = 0
        self._limit: float = inf

    @property
    def paths(self) -> set[str]:
        return {f"/p/{number}" for number in range(self.count)}

    def hold_after(self, limit: float) -> None:
        """Answer no more products than these."""
        with self._changed:
            self._limit = limit
            self._changed.notify_all()

    def let_go(self) -> None:
        self.hold_after(inf)

    def __getitem__(self, path: str) -> Any:
        if path == "/":
            return Page("".join(f'<a href="{path}">x</a>' for path in sorted(self.paths)))
        if path not in self.paths:
            raise KeyError(path)
        return lambda _: self._product(int(path.rpartition("/")[2]))

    def _product(self, number: int) -> Page:
        with self._changed:
            self._asked += 1
            mine = self._asked
            assert self._changed.wait_for(lambda: mine <= self._limit, 120), "nobody let the pages go"
        text = secrets.token_hex(self._sizes.get(number, self._size) // 2)
        product = {**_PRODUCT, "name": f"Product {number}", "sku": str(number), "description": text}
        product["offers"] = {"@type": "Offer", "price": "1.00", "priceCurrency": "EUR"}
        return Page(f'<html><script type="application/ld+json">{json.dumps(product)}</script></html>')

    def __iter__(self) -> Any:
        return iter(("/", *self.paths))

    def __len__(self) -> int:
        return self.count + 1


@dataclass(frozen=True)
class Memory:
    """MiB of a process, as the kernel accounts them."""

    now: float
    peak: float


@dataclass
class Worker:
    """A running `scrapy crawl`."""

    process: subprocess.Popen[str]
    log: Path

    def events(self, name: str, **wanted: Any) -> list[dict[str, Any]]:
        """What it has said so far."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        found = [json.loads(line) for line in lines if line.endswith("}")]
        events = [event for event in found if event.get("event") == name]
        return [event for event in events if all(event.get(key) == value for key, value in wanted.items())]

    def says(self, name: str, seconds: float = 30, **wanted: Any) -> dict[str, Any]:
        """The first such event, once it is there."""
        missing = f"no event {name!r} {wanted}"
        return until(lambda: self.events(name, **wanted), lambda: f"{self.tail()}\n{missing}", seconds)[0]

    def says_away(self) -> str:
        """Why Kafka is away, once the worker says so, its gauge too."""
        why: str = self.says("kafka away")["error"]
        until(lambda: [event for event in self.events("gauges") if event["kafka_away"]], "the gauge does not tell")
        return why

    def memory(self) -> Memory:
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in lines)
        return Memory(*(int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM")))

    def forget_peak(self) -> float:
        """Its memory now, which is its peak from here on."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        return self.memory().now

    def ended(self, code: int = 0) -> None:
        """Return when it has ended, with that exit code."""
        if self.process.returncode is None:
            _, err = self.process.communicate(timeout=90)
            assert self.process.returncode == code, f"{err}\n{self.tail()}"

    def tail(self) -> str:
        return self.log.read_text()[-3000:] if self.log.exists() else ""


def topics_of(seine: Seine) -> list[str]:
    """Every topic that its workers write."""
    return [seine.env[f"KAFKA_TOPIC_{what}"] for what in ("PRODUCTS", "DEAD_LETTERS", "PAGES")]


class Crawl:
    """A crawl of a shop, through the frontier, to Kafka, with little room for what Kafka does not take."""

    def __init__(self, seine: Seine, redis: Redis, pages: ShopPages, server: WebServer):
        self.seine = seine
        self.pages = pages
        self.server = server
        self.topic = seine.env["KAFKA_TOPIC_PRODUCTS"]
        self.topics = topics_of(seine)
        self._redis = redis
        self._started = 0
        (Path(seine.env["SITES_DIR"]) / "outage.toml").write_text(_SITE.format(domain=server.domain))

    def start(self, **settings: Any) -> Worker:
        self._started += 1
        log = self.seine.folder / f"worker-{self._started}.log"
        given = {
            "ADDONS": '{"tests.watch.Watch": 1}',
            "FRONTIER_CRAWL_ID": "one",
            "FRONTIER_LEASE_SECONDS": 3,
            "CONCURRENT_REQUESTS": CONCURRENT,
            "SINK_HIGH_WATER_RECORDS": RECORDS,
            "KAFKA_TIMEOUT": 1,
            "LOG_FILE": log,
            **settings,
        }
        options = [part for name, value in given.items() for part in ("-s", f"{name}={value}")]
        return Worker(self.seine.start("crawl", "product_spider", *options), log)

    def await_delivered(self, number: int) -> None:
        """Return when so many products count as delivered."""
        until(lambda: self.counts().get("delivered", 0) >= number, f"{number} are not delivered", 60)

    def counts(self) -> dict[str, int]:
        """The frontier's, by outcome."""
        return {name.decode(): int(n) for name, n in self._redis.hgetall(f"{self._root}:counts").items()}

    def records(self) -> list[Consumed]:
        """What is on the topic."""
        return consume(self.seine.env, self.topic)

    def check(self, worker: Worker, earlier: list[Consumed] | None = None, dead: int = 0) -> list[Consumed]:
        """The worker has ended well and all is settled: every product is there at least once. Returns the records."""
        worker.ended()
        counts = self.counts()
        assert counts["seeded"] + counts["discovered"] == self.pages.count + 1
        wanted = dict.fromkeys(_TERMS, 0) | {"delivered": self.pages.count - dead, "expanded": 1, "dead": dead}
        assert {name: counts.get(name, 0) for name in _TERMS} == wanted, counts
        assert self._redis.hlen(f"{self._root}:leases") == 0
        records = self.records()
        found = {record.value["sku"] for record in (*records, *(earlier or []))}
        assert len(found) == self.pages.count - dead
        [watched] = worker.events("watched")
        assert watched["blocked"] < LONGEST_STALL, watched
        assert watched["peak_mb"] < MOST_MEMORY, watched
        return records

    @property
    def _root(self) -> str:
        return Keys(self.seine.env["FRONTIER_NAMESPACE"], "product_spider").crawl(0, "one")


def was_away(worker: Worker, topic: str) -> None:
    """The worker has told when the outage began and when it was over, by its gauge too.

    On a busy machine a broker that has just started may be silent for a moment once more: that is told, too.
    """
    aways, backs = (worker.events(f"kafka {what}", topic=topic) for what in ("away", "back"))
    assert 1 <= len(aways) == len(backs)
    gauges = [event["kafka_away"] for event in worker.events("gauges")]
    assert max(gauges) >= 1
    assert gauges[-1] == 0

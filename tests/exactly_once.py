"""A crawl that delivers exactly once, by real workers on a Redis and a Kafka that tests may hurt."""

from __future__ import annotations

import secrets
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

from redis import Redis

from crawlers.frontier.keys import Keys
from tests.fleet import TERMS
from tests.product_tree import ProductTree, write_site
from tests.servers.redis import RedisServer
from tests.servers.web import WebServer
from tests.support import Consumed, Seine, consume

LEASE_SECONDS = 3
TRANSACTION_TIMEOUT = 4
SLOTS = 4
CRAWL = "once"


class OnceCrawl:
    """One crawl of a ProductTree, and what it came to."""

    def __init__(self, folder: Path, kafka_env: dict[str, str], redis: RedisServer, server: WebServer, **settings: Any):
        self.redis_server = redis
        self.server = server
        self.tree: ProductTree = server.pages
        name = secrets.token_hex(4)
        sites = folder / f"sites-{name}"
        sites.mkdir()
        write_site(sites, server)
        self.topic = f"products-{name}"
        self.keys = Keys(f"test-{name}", "product_spider", int(settings.get("FRONTIER_SHARDS", 1)))
        env = {
            **kafka_env,
            "REDIS_URL": redis.url,
            "SITES_DIR": str(sites),
            "KAFKA_DELIVERY": "exactly_once",
            "KAFKA_TOPIC_PRODUCTS": self.topic,
            "KAFKA_TOPIC_DEAD_LETTERS": f"{self.topic}.dlq",
            "KAFKA_TOPIC_LEDGER": f"{self.topic}.ledger",
            "KAFKA_SLOTS": str(SLOTS),
            "KAFKA_TRANSACTION_TIMEOUT": str(TRANSACTION_TIMEOUT),
            "FRONTIER_NAMESPACE": self.keys.namespace,
            "FRONTIER_LEASE_SECONDS": str(LEASE_SECONDS),
            "FRONTIER_CRAWL_ID": CRAWL,
            "CONCURRENT_REQUESTS": "8",
            "ROBOTSTXT_OBEY": "0",
            "REDIS_TIMEOUT": "3",
            **{name: str(value) for name, value in settings.items()},
        }
        self.seine = Seine(folder, env)
        self._logs = 0

    def run(self, **settings: Any) -> subprocess.Popen[str]:
        """A worker that has ended well."""
        worker = self.start(**settings)
        _, err = worker.communicate(timeout=90)
        assert worker.returncode == 0, err[-2000:]
        return worker

    def start(self, **settings: Any) -> subprocess.Popen[str]:
        """Another worker; its log is a file, as nobody reads its output while it runs."""
        self._logs += 1
        log = self.seine.folder / f"worker-{self._logs}.log"
        options = [part for name, value in settings.items() for part in ("-s", f"{name}={value}")]
        return self.seine.start("crawl", "product_spider", "-s", f"LOG_FILE={log}", *options)

    def log(self, number: int = 1) -> str:
        """What a worker has logged, by the order of their starts."""
        path = self.seine.folder / f"worker-{number}.log"
        return path.read_text() if path.exists() else ""

    def counts(self) -> dict[str, int]:
        """Of all shards."""
        counts = Counter[str]()
        with self._client() as client:
            for root in self._roots():
                counts.update({name.decode(): int(n) for name, n in client.hgetall(f"{root}:counts").items()})
        return counts

    def settled(self) -> int:
        counts = self.counts()
        return sum(counts.get(term, 0) for term in ("delivered", "expanded", "empty", "dead"))

    def prepared(self) -> int:
        """Slots with a batch that is to be committed."""
        with self._client() as client:
            slots = client.scan_iter(f"{self.keys.shard(0)}:slot:*")
            return sum(client.hexists(slot, "token") for slot in slots)

    def take_slots(self, seconds: float) -> None:
        """Somebody else has them all, for so long."""
        with self._client() as client:
            for number in range(SLOTS):
                until = (client.time()[0] + seconds) * 1000
                key = f"{self.keys.shard(number % self.keys.shards)}:slot:{number}"
                client.hset(key, mapping={"claim": "another's", "until": until})

    def leased(self) -> int:
        with self._client() as client:
            return int(client.hlen(f"{self.keys.crawl(0, CRAWL)}:leases"))

    def workers(self) -> int:
        with self._client() as client:
            return int(client.zcard(f"{self.keys.shard(0)}:workers"))

    def held_by_others(self) -> int:
        """Leases of the workers that have none of the slots: of all but the one that holds most."""
        with self._client() as client:
            return sum(sorted(client.scard(key) for key in client.scan_iter(f"{self.keys.shard(0)}:held:*"))[:-1])

    def check(self) -> dict[str, int]:
        """The equation holds, and a read_committed consumer has every record of the crawl once."""
        counts = self.counts()
        with self._client() as client:
            open_ = sum(client.hlen(f"{root}:leases") + client.zcard(f"{root}:delayed") for root in self._roots())
        assert open_ == counts.get("pending", 0) == 0, counts
        assert counts["seeded"] + counts.get("discovered", 0) == sum(counts.get(term, 0) for term in TERMS), counts
        assert counts["seeded"] + counts["discovered"] == len(self.tree)
        _check_once(self.products(), self.tree.good)
        _check_once(self.letters(), self.tree.broken)
        return counts

    def products(self) -> list[Consumed]:
        return consume(self.seine.env, self.topic)

    def letters(self) -> list[Consumed]:
        return consume(self.seine.env, f"{self.topic}.dlq", avro=False)

    def _roots(self) -> list[str]:
        return [self.keys.crawl(shard, CRAWL) for shard in range(self.keys.shards)]

    def _client(self) -> Redis:
        return self.redis_server.client()


def _check_once(records: list[Consumed], skus: set[str]) -> None:
    times = Counter(record.value["sku"] for record in records)
    missing, twice = skus - set(times), {sku: n for sku, n in times.items() if n > 1}
    assert not missing, f"missing: {sorted(missing)}"
    assert not twice, f"more than once: {twice}"
    assert set(times) == skus, f"unexpected: {set(times) - skus}"

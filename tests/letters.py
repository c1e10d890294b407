"""Crawls whose pages fail in every way, and the letters that they leave."""

from __future__ import annotations

import json
from typing import Any

import msgpack
from confluent_kafka import Consumer, TopicPartition

from crawlers.frontier.keys import Keys
from crawlers.masking.keys import MaskingKeys
from crawlers.masking.masking import Masking
from crawlers.masking.rules import MaskingRules
from tests.fleet import FrontierSeine
from tests.servers.redis import RedisServer
from tests.servers.web import Page, WebServer
from tests.support import Consumed, Finished, Seine

SPIDER = "product_spider"
SITE = 'name = "shop"\ndomains = ["{domain}"]\nseeds = ["{url}/"]\n[limits]\ndelay = 0\nconcurrency = {concurrency}\n'
OTHER_SITE = 'name = "other"\ndomains = ["other.example"]\nseeds = ["http://other.example/"]\n'
UNMASKED = Masking(MaskingRules(), MaskingKeys())
PIPELINES = {
    "pipelines.validation.ValidationPipeline": 100,
    "tests.spiders.Spoiling": 300,
    "pipelines.avro.AvroPipeline": 500,
    "pipelines.kafka.KafkaPipeline": 600,
}


def product(name: str, **fields: Any) -> Page:
    """A page of a product."""
    data = {"@context": "https://schema.org", "@type": "Product", "name": name, **fields}
    return Page(f'<html><h1>{name}</h1><script type="application/ld+json">{json.dumps(data)}</script></html>')


class Letters:
    """A Seine with a dead-letter topic of its own, and what Kafka and Redis know."""

    def __init__(self, seine: Seine, redis_server: RedisServer | None = None):
        self.seine = seine
        self.topic = seine.env["KAFKA_TOPIC_DEAD_LETTERS"]
        self._redis = redis_server.client() if redis_server is not None else None

    @property
    def fleet(self) -> FrontierSeine:
        assert self._redis is not None
        return FrontierSeine(self.seine.folder, self.seine.env, self._redis)

    def site(self, server: WebServer, concurrency: int = 8) -> str:
        """The name of the site of `server`, which is known from now on."""
        text = SITE.format(domain=server.domain, url=server.url, concurrency=concurrency)
        (self.seine.folder / "sites" / "shop.toml").write_text(text)
        return "shop"

    def crawl(self, server: WebServer, **settings: Any) -> Finished:
        """A crawl of `server`, whose pages' names say what is done to their items."""
        own = {"ROBOTSTXT_OBEY": 0, "RETRY_BACKOFF_SECONDS": 0.01, "ITEM_PIPELINES": json.dumps(PIPELINES), **settings}
        return self.seine.crawl("-a", f"sites={self.site(server)}", **own)

    def read(self, *, committed: bool = False) -> list[Consumed]:
        """Every letter, in each partition's order; a value that is no JSON as text. Receipts are left out."""
        return [letter for letter in self.everything(committed=committed) if letter.headers["stage"] != "replayed"]

    def everything(self, *, committed: bool = False) -> list[Consumed]:
        """Receipts too."""
        config = {"bootstrap.servers": self.seine.env["KAFKA_BOOTSTRAP_SERVERS"], "group.id": "test-letters"}
        config["isolation.level"] = "read_committed" if committed else "read_uncommitted"
        consumer = Consumer({**config, "enable.auto.commit": False, "enable.partition.eof": True})
        try:
            unread = set(consumer.list_topics(self.topic, timeout=10).topics[self.topic].partitions)
            consumer.assign([TopicPartition(self.topic, partition, 0) for partition in unread])
            found = []
            while unread:
                message = consumer.poll(30)
                assert message is not None
                if message.error() is not None:
                    unread.discard(message.partition())
                    continue
                headers = {name: text.decode() for name, text in message.headers() or []}
                found.append(Consumed(message.key().decode(), _read(message.value()), headers, message.partition()))
            return found
        finally:
            consumer.close()

    # --- What Redis says

    def root(self, crawl: str = "") -> str:
        """Of the keys of a crawl: the latest, unless it is named."""
        assert self._redis is not None
        keys = Keys(self.seine.env["FRONTIER_NAMESPACE"], SPIDER)
        return keys.crawl(0, crawl or self._redis.zrange(f"{keys.registry}:crawls", -1, -1)[0].decode())

    def dead(self, crawl: str = "") -> dict[bytes, str]:
        """The URLs of dead requests by their ids."""
        assert self._redis is not None
        rows = self._redis.hgetall(f"{self.root(crawl)}:dead")
        return {id_: msgpack.unpackb(msgpack.unpackb(row, raw=True)[2])[0] for id_, row in rows.items()}

    def leased(self) -> int:
        assert self._redis is not None
        return int(self._redis.hlen(f"{self.root()}:leases"))

    def counts(self, crawl: str = "") -> dict[str, int]:
        assert self._redis is not None
        return {name.decode(): int(n) for name, n in self._redis.hgetall(f"{self.root(crawl)}:counts").items()}


def _read(value: bytes) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value.decode("utf-8", "replace")

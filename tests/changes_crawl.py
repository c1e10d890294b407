"""Crawls of a small shop, one after another, with EMIT=changes, and what each left on the topic."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from redis import Redis

from crawlers.frontier.keys import Keys
from deploy.demo_shop import DemoShop
from tests.support import Consumed, Finished, Seine, consume

PRODUCTS = 8
TERMS = ("delivered", "expanded", "redirected", "empty", "filtered", "dead", "pending")


@dataclass
class Pass:
    """A crawl that is over."""

    finished: Finished
    records: list[Consumed]
    """Those that it left, tombstones among them."""
    counts: dict[str, int]

    @property
    def changes(self) -> dict[str, str]:
        """Change by identity."""
        return {record.value["identity"]: record.value["change"] for record in self.records if record.value}

    @property
    def fates(self) -> dict[str, int]:
        events = self.finished.events("item")
        return {fate: len(self.finished.events("item", fate=fate)) for fate in {event["fate"] for event in events}}


@dataclass
class SmallShop:
    """A category of the demo shop and some of its products: a site of its own."""

    seine: Seine
    shop: DemoShop
    redis: Redis
    sites: Path
    toml: str = ""
    skus: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    numbers: Any = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        home = self.shop.urls[0]
        rows = [
            row
            for row in self.shop.truth()
            if row["url"].startswith(home) and row["section"] == "catalog" and row["markup"].startswith("json-ld")
        ]
        self.rows = {row["sku"]: row for row in rows[:PRODUCTS]}
        self.skus = list(self.rows)
        self.options = {"EMIT": "changes", "CRAWL_DELAY_LONGEST": 0, "FRONTIER_LEASE_SECONDS": 2}
        self.seine.env["REDIS_URL"] = self.seine.env.get("REDIS_URL") or ""
        self.seine.env["FRONTIER_NAMESPACE"] = f"test-{secrets.token_hex(4)}"
        self.describe()

    def describe(self, changes: str = "") -> None:
        """Write the site's TOML; `changes` is its table of that name."""
        home = self.shop.urls[0]
        wanted = ", ".join(f'"{re.escape(self.path(sku))}$"'.replace("\\", "\\\\") for sku in self.skus)
        (self.sites / "small.toml").write_text(
            f'name = "small"\ndomains = ["{self.shop.domains[0]}"]\nsitemaps = ["{home}/sitemap.xml"]\n'
            f'seeds = ["{home}/about"]\nidentity = "sku"\n\n[product]\nallow = [{wanted}]\n\n'
            f'[follow]\nallow = ["^nothing$"]\n\n[limits]\ndelay = 0.0\n\n{changes}'
        )

    def path(self, sku: str) -> str:
        return str(self.rows[sku]["url"]).removeprefix(self.shop.urls[0])

    def crawl(self, **settings: Any) -> Pass:
        """The next crawl, to its end."""
        name = f"c{next(self.numbers)}"
        self.shop.clear_log()
        finished = self.seine.crawl(**{**self.options, "FRONTIER_CRAWL_ID": name, **settings})
        assert finished.code == 0, finished.err[-3000:]
        return self.passed(name, finished, settings.get("KAFKA_TOPIC_PRODUCTS"))

    def passed(self, name: str, finished: Finished, topic: str | None = None) -> Pass:
        """The crawl of that name, whose equation must hold."""
        root = Keys(self.seine.env["FRONTIER_NAMESPACE"], "product_spider").crawl(0, name)
        counts = {term.decode(): int(n) for term, n in self.redis.hgetall(f"{root}:counts").items()}
        assert counts["seeded"] + counts.get("discovered", 0) == sum(counts.get(term, 0) for term in TERMS), counts
        records = consume(self.seine.env, topic or self.seine.env["KAFKA_TOPIC_PRODUCTS"])
        return Pass(finished, [record for record in records if record.headers.get("crawl_id") == name], counts)

    def asked_for(self, sku: str) -> list[int]:
        """The statuses of this crawl's requests for a product's page."""
        return [entry["status"] for entry in self.shop.log(path=self.path(sku))]

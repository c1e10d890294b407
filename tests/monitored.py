"""A shop that a test makes up, crawled again and again, and what the monitors say of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis import Redis

from crawlers.frontier.keys import Keys
from crawlers.monitors.fleet import FleetMonitors
from tests.fleet import links
from tests.polling import PATIENCE, until
from tests.servers.web import Page, WebServer
from tests.support import Finished, Seine

SITE = """
name = "shop"
domains = ["{domain}"]
seeds = ["{url}/"]
[limits]
delay = 0
concurrency = 8
[monitors]
{rules}
"""
AFTER_ONE = "after = 1"
QUICK = {"ROBOTSTXT_OBEY": 0, "RETRY_BACKOFF_SECONDS": 0.01, "RETRY_TIMES": 0, "FRONTIER_LEASE_SECONDS": 2}


def product_page(name: str, **changes: Any) -> Page:
    """A product with everything that a page usually has; a field that is None is left out."""
    offer = {"price": changes.pop("price", "10.00"), "priceCurrency": changes.pop("currency", "EUR")}
    offer["availability"] = "https://schema.org/InStock"
    told = {"@type": "Product", "name": f"Lamp {name}", "sku": name, "image": f"/{name}.png", "description": "A lamp."}
    told |= {"offers": {name: value for name, value in offer.items() if value is not None}, **changes}
    told = {"@context": "https://schema.org", **{name: value for name, value in told.items() if value is not None}}
    body = f'<h1>Lamp {name}</h1><script type="application/ld+json">{json.dumps(told)}</script>'
    return Page(body, headers={"ETag": f'"{name}"'})


@dataclass
class MonitoredShop:
    """Of so many products, on pages that its seed links to."""

    seine: Seine
    server: WebServer
    products: int = 20
    options: dict[str, Any] = field(default_factory=lambda: dict(QUICK))

    @property
    def names(self) -> list[str]:
        return [f"p{number}" for number in range(self.products)]

    def describe(self, rules: str = AFTER_ONE) -> None:
        """Write the site's TOML, with those monitors."""
        text = SITE.format(domain=self.server.domain, url=self.server.url, rules=rules)
        (self.seine.folder / "sites" / "shop.toml").write_text(text)

    def show(self, *names: str, **changes: Any) -> None:
        """Let the products of those names be for sale; all of them, where none is named."""
        for name in names or self.names:
            self.server.pages[f"/{name}"] = product_page(name, **changes)
        self.server.pages["/"] = links(*(path for path in self.server.pages if path != "/"))

    def remove(self, *names: str) -> None:
        for name in names:
            del self.server.pages[f"/{name}"]
        self.show(*(path[1:] for path in self.server.pages if path != "/"))

    def hold(self) -> threading.Event:
        """Keep products' pages waiting until the event is set."""
        go = threading.Event()
        for name in self.names:
            page = self.server.pages[f"/{name}"]
            self.server.pages[f"/{name}"] = lambda earlier, page=page: go.wait(PATIENCE) and page
        return go

    def start(self, workers: int, crawl: str, **settings: Any) -> list[subprocess.Popen[str]]:
        """So many workers of one crawl, each of which works on a product's page by now."""
        go = self.hold()
        arguments = self.arguments(crawl, CONCURRENT_REQUESTS=1, **settings)
        processes = [self.seine.start(*arguments) for _ in range(workers)]
        self.server.wait_for(1 + workers)
        go.set()
        return processes

    def arguments(self, crawl: str, **settings: Any) -> list[str]:
        given = {**self.options, "FRONTIER_CRAWL_ID": crawl, **settings}
        options = [part for name, value in given.items() for part in ("-s", f"{name}={value}")]
        return ["crawl", "product_spider", "-a", "sites=shop", *options]

    def crawl(self, name: str, code: int = 0, **settings: Any) -> Finished:
        """A crawl to its end."""
        finished = self.seine.run(*self.arguments(name, **settings))
        assert finished.code == code, finished.err[-3000:]
        return finished

    def wait_for_claim(self, redis: Redis, crawl: str) -> None:
        """Return when nobody has claimed to judge it, as its judge is dead."""
        due = f"{Keys(self.seine.env['FRONTIER_NAMESPACE'], 'product_spider').registry}:monitors:due"
        until(lambda: redis.time()[0] * 1000 > redis.zscore(due, crawl), "the claim is not over")

    def result(self) -> dict[str, Any]:
        """What was found last."""
        [found] = json.loads(self.seine.run("frontier", "monitors", "--json").out)["sites"]
        return found  # type: ignore[no-any-return]

    def history(self) -> list[dict[str, Any]]:
        """Of all its crawls, the newest first."""
        return json.loads(self.seine.run("frontier", "monitors", "shop", "--json").out)["crawls"]  # type: ignore[no-any-return]


def failed(finished: Finished) -> list[str]:
    """The monitors that a crawl's log tells of."""
    return sorted(event["monitor"] for event in finished.events("monitor failed"))


class DiesAsJudge:
    """An item pipeline that lets items be: the first worker that is to judge a crawl is killed at `DIES_AT`."""

    @classmethod
    def from_crawler(cls, crawler: Any) -> DiesAsJudge:
        marker, name = Path(crawler.settings["DIE_ONCE"]), crawler.settings["DIES_AT"]
        step = getattr(FleetMonitors, name)

        async def dying(self: Any, *arguments: Any) -> Any:
            _die_once(marker)
            return await step(self, *arguments)

        setattr(FleetMonitors, name, dying)
        return cls()

    def process_item(self, item: Any) -> Any:
        return item


class DiesAfterKafka:
    """An item pipeline behind Kafka's: the first item whose record Kafka has kills its worker before it settles."""

    def __init__(self, marker: Path):
        self._marker = marker

    @classmethod
    def from_crawler(cls, crawler: Any) -> DiesAfterKafka:
        return cls(Path(crawler.settings["DIE_ONCE"]))

    def process_item(self, item: Any) -> Any:
        _die_once(self._marker)
        return item


def _die_once(marker: Path) -> None:
    """Whoever comes first is killed."""
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)

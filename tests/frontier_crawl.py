"""Crawls in this process: real frontiers over a real Redis, on a site whose pages are numbers.

Page n links to pages 2n+1 and 2n+2, and back to page 0: whoever knows how many pages there are knows what a crawl must
come to.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from scrapy.settings import Settings

from crawlers import metrics
from crawlers.frontier.connection import Servers
from crawlers.frontier.control import Control
from crawlers.frontier.crawls import Definition, Totals
from crawlers.frontier.frontier import Frontier
from crawlers.frontier.keys import Keys
from crawlers.frontier.leases import Lease, NewRequest
from crawlers.frontier.options import FrontierOptions
from tests.frontier_shard import page
from tests.polling import INTERVAL, eventually

QUICK = {"lease_seconds": 2.0, "prefetch": 16, "per_domain": 8, "concurrency": 8, "retry_base": 0.01}


def servers(**settings: Any) -> Servers:
    """Where Redis is, as settings say it; a silent one counts as away after a second."""
    return Servers.from_settings(Settings({"REDIS_TIMEOUT": 1.0, "REDIS_SENTINEL_MASTER": "mymaster", **settings}))


def away(shard: int = 0) -> float | None:
    """Whether a shard's Redis is away, as the metrics say."""
    return metrics.REGISTRY.get_sample_value("seine_frontier_away", {"shard": str(shard)})


@dataclass
class Site:
    """A tree of `pages` pages, spread over `domains` domains."""

    pages: int
    domains: int = 4

    def request(self, number: int, **fields: Any) -> NewRequest:
        return page(number, self.domain(number), **fields)

    def domain(self, number: int) -> str:
        return f"d{number % self.domains}.example"

    def links(self, number: int) -> list[int]:
        return [n for n in (2 * number + 1, 2 * number + 2, 0) if n < self.pages]


@dataclass
class Crawl:
    """A crawl of `site` in a namespace of its own. `async with` ends the workers that it has by then."""

    servers: Servers
    site: Site
    shards: int = 1
    options: dict[str, Any] = field(default_factory=dict)
    name: str = ""
    workers: list[Worker] = field(default_factory=list)
    namespace: str = field(default_factory=lambda: f"test-{secrets.token_hex(6)}")

    async def __aenter__(self) -> Crawl:
        self.keys = Keys(self.namespace, "spider", self.shards)
        self.control = Control(self.servers, self.keys)
        self.name, _ = await (await self.control.open()).open(Definition(source="tree"))
        return self

    async def __aexit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.hold()
        await asyncio.gather(*(worker.frontier.close(2.0) for worker in self.workers))
        await self.control.close()

    async def worker(self, *, held: bool = False) -> Worker:
        """A new worker, which fetches at once; a held one only what it is told to let go."""
        worker = Worker(self, FrontierOptions(**{**QUICK, **self.options}))
        if held:
            worker.hold()
        await worker.frontier.open(await self.control.connect())
        self.workers.append(worker)
        return worker

    async def seed(self, worker: Worker, *numbers: int) -> None:
        """Put pages in, and tell the fleet that these are all."""
        for number in numbers or (0,):
            worker.frontier.enqueue(self.site.request(number, seed=1))
        await eventually(lambda: not worker.frontier.backlog, "the seeds are not in Redis")
        for action in ("claim", "done"):
            await self.control.ask(lambda crawls, action=action: self._seeding(crawls, worker, action))

    async def totals(self) -> Totals:
        """The equation."""
        found: Totals = await self.control.ask(lambda crawls: crawls.totals(self.name))
        return found

    async def set_state(self, state: str) -> None:
        """As `scrapy frontier pause` and the like do."""
        await self.control.ask(lambda crawls: crawls.set_state(self.name, state))

    async def complete(self, seconds: float = 30.0) -> Totals:
        """The equation of the crawl, once it is complete: it must hold."""
        deadline = monotonic() + seconds
        while not await self._is_complete():
            assert monotonic() < deadline, f"not complete within {seconds} s: {await self.totals()} {self.workers}"
            await asyncio.sleep(INTERVAL)
        totals = await self.totals()
        assert totals.balanced, totals
        assert totals.open == 0, totals
        return totals

    async def _is_complete(self) -> bool:
        if not all(worker.frontier.exhausted for worker in self.workers):
            return False
        found: bool = await self.control.ask(lambda crawls: crawls.complete(self.name, 60))
        return found

    async def _seeding(self, crawls: Any, worker: Worker, action: str) -> None:
        await crawls.seeding(self.name, worker.frontier.worker, action, 10_000)

    @property
    def fetched(self) -> Counter[int]:
        """Page -> how often it was fetched."""
        return sum((worker.fetched for worker in self.workers), Counter())


class Worker:
    """Fetches what it leases, `concurrency` pages at a time."""

    concurrency = 8

    def __init__(self, crawl: Crawl, options: FrontierOptions):
        self.crawl = crawl
        self.frontier = Frontier(crawl.servers, crawl.keys, crawl.name, options, self._look)
        self.fetched: Counter[int] = Counter()
        self._settled: list[tuple[int, Lease]] = []
        self.latency = 0.0
        """Seconds that a page takes."""
        self._free = asyncio.Event()
        self._free.set()
        self._tasks: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        parts = [f"{s.number}: {s.state} {s.open} idle={s.idle}" for s in self.frontier.sessions]
        return f"<busy={self.busy} held={len(self.frontier.held)} waiting={len(self.frontier.waiting)} {parts}>"

    def hold(self) -> None:
        """Let no page end from now on."""
        self._free.clear()

    def go(self) -> None:
        """Let pages end again, those that wait first."""
        self._free.set()

    def let_go(self) -> None:
        """Let the pages end that are being fetched, and no other."""
        self._free.set()
        self._free = asyncio.Event()

    @property
    def busy(self) -> int:
        """Pages that are being fetched."""
        return len(self._tasks)

    @property
    def confirmed(self) -> set[int]:
        """Pages whose settlement Redis has confirmed."""
        held = self.frontier.held
        return {number for number, lease in self._settled if not lease.lost and held.get(lease.id) is not lease}

    async def let_in(self, number: int) -> None:
        """Add a page that came from nowhere; return when Redis has it."""
        self.frontier.enqueue(self.crawl.site.request(number))
        await eventually(lambda: not self.frontier.backlog, "not in Redis")

    async def leave(self) -> None:
        """End, as a worker does that is told to."""
        self.crawl.workers.remove(self)
        self.hold()
        await self.frontier.close(2.0)

    def _look(self) -> None:
        while len(self._tasks) < self.concurrency and (lease := self.frontier.take()):
            task = asyncio.create_task(self._fetch(lease, self._free))
            self._tasks.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.result()
        self._look()

    async def _fetch(self, lease: Lease, free: asyncio.Event) -> None:
        number = int(lease.data.split()[1])
        self.frontier.began(lease)
        self.fetched[number] += 1
        await asyncio.sleep(self.latency)
        await free.wait()
        if lease.settled:
            return
        self.frontier.ended(lease, self.latency)
        for child in self.crawl.site.links(number):
            self._follow(child, lease)
        self.frontier.settle(lease, "delivered")
        self._settled.append((number, lease))

    def _follow(self, number: int, parent: Lease) -> None:
        url = f"http://{self.crawl.site.domain(number)}/{number}"
        if not self.frontier.is_known(url):
            self.frontier.enqueue(self.crawl.site.request(number), parent, url)

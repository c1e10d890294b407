"""A crawl by several real workers, of which one after another is killed."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.fleet import Ended, FrontierSeine, links
from tests.polling import until
from tests.servers.web import Page, WebServer
from tests.support import Finished

LEASE_SECONDS = 2
LATENCY = 0.05


class Tree(Mapping[str, Page]):
    """Pages that each yield an item and link to two further ones, to their parent and to the first."""

    def __init__(self, count: int):
        self._count = count

    def __getitem__(self, path: str) -> Page:
        number = int(path.rpartition("-")[2])
        children = [n for n in (2 * number + 1, 2 * number + 2) if n < self._count]
        return links(*(f"/item-{n}" for n in (*children, max(0, (number - 1) // 2), 0)))

    def __iter__(self) -> Any:
        return (f"/item-{n}" for n in range(self._count))

    def __len__(self) -> int:
        return self._count


@dataclass
class Worker:
    """A running `scrapy crawl`."""

    process: subprocess.Popen[str]
    log: str


class Fleet:
    """Workers on one crawl."""

    def __init__(self, seine: FrontierSeine, server: WebServer):
        self._seine = seine
        self._server = server
        self._started = 0
        self.workers: list[Worker] = []

    def start(self, number: int = 1) -> None:
        for _ in range(number):
            self._started += 1
            log = str(self._seine.folder / f"worker-{self._started}.log")
            options = self._seine.options(
                DOWNLOAD_DELAY=0,
                CONCURRENT_REQUESTS_PER_DOMAIN=32,
                FRONTIER_LEASE_SECONDS=LEASE_SECONDS,
                FRONTIER_CRAWL_ID="chaos",
                CONCURRENT_REQUESTS=8,
                LOG_FILE=log,
            )
            url = f"{self._server.url}/item-0"
            process = self._seine.start("crawl", "path_spider", "-a", f"url={url}", *options)
            self.workers.append(Worker(process, log))

    def kill_one(self, choose: random.Random) -> int:
        """Kill one of the workers that hold leases, and say how many it held."""
        busy = until(lambda: [worker for worker in self.workers if self._held_by(worker.process.pid)], "nobody works")
        victim = choose.choice(busy)
        self.workers.remove(victim)
        victim.process.kill()
        victim.process.communicate()
        return self._held_by(victim.process.pid)

    def all_work(self) -> bool:
        return all(self._held_by(worker.process.pid) for worker in self.workers)

    def ended(self, seconds: float) -> Finished:
        """The last worker's end, once all have ended well."""
        finished = Finished(0, "", "")
        for worker in self.workers:
            out, err = worker.process.communicate(timeout=seconds)
            finished = Finished(worker.process.returncode, out, err)
            assert finished.code == 0, err
        return finished

    def end(self) -> None:
        for worker in self.workers:
            worker.process.kill()
            worker.process.communicate()

    def _held_by(self, pid: int) -> int:
        redis, root = self._seine.redis, self._seine.keys.shard(0)
        for name in redis.scan_iter(f"{root}:worker:*"):
            info = redis.hget(name, "info")
            if info and json.loads(info)["pid"] == pid:
                return int(redis.scard(f"{root}:held:{name.decode().rpartition(':')[2]}"))
        return 0


def crawl_with_kills(seine: FrontierSeine, server: WebServer, kills: int, seed: int) -> tuple[Ended, int]:
    """(The crawl that is over, leases that were held by those killed): a kill after every so many pages, by `seed`."""
    choose = random.Random(seed)
    pages = len(server.pages)
    moments = sorted(choose.sample(range(pages // 20, pages * 3 // 4), kills))
    fleet, lost = Fleet(seine, server), 0
    try:
        fleet.start(3)
        for moment in moments:
            server.latency = LATENCY
            until(lambda moment=moment: len(server.times) >= moment, f"page {moment} was not fetched", 120)
            lost += fleet.kill_one(choose)
            server.latency = 1.0  # the crawl does not end before the last one has come
            fleet.start()
        until(fleet.all_work, "a worker has no leases", 60)
        server.latency = LATENCY
        return seine.ended(fleet.ended(120), server), lost
    finally:
        fleet.end()

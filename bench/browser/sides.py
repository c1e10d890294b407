"""What is compared: each side renders addresses in processes of its own, and says when each page was there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench.browser.tree import Tree

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
README, BARE, POOL = "scrapy-playwright", "bare loop", "pool"
_FIRST = 8
"""Pages of a run after which its rate is measured: by then all tabs are open."""


class RunFailed(Exception):
    """A side did not render all of its pages; the message has the end of what it said."""


@dataclass(frozen=True, slots=True)
class Run:
    urls: list[str]
    at_once: int


@dataclass(slots=True)
class Result:
    cpu: float
    """Seconds, of all processes."""
    asked_at: float
    done_at: list[float]
    """Moments of the monotonic clock at which pages were there."""
    peak: float = 0.0
    """MiB of all processes, where that was watched; memory that they share counts once."""
    memory: list[tuple[float, float]] = field(default_factory=list)
    """(moment, MiB)."""

    @property
    def rate(self) -> float:
        """Pages per second."""
        return (len(self.done_at) - _FIRST) / (self.done_at[-1] - self.done_at[_FIRST - 1])

    def memory_at(self, pages: int) -> float:
        """MiB when so many pages had been rendered."""
        moment = self.done_at[pages - 1]
        return min(self.memory, key=lambda sample: abs(sample[0] - moment))[1]


@dataclass(slots=True)
class Figures:
    """What the rounds of one side measured."""

    cpu: list[float] = field(default_factory=list)
    """Seconds per page."""
    rate: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    """Seconds from the first request to the first page."""

    def add(self, short: Result, full: Result) -> None:
        self.cpu.append((full.cpu - short.cpu) / (len(full.done_at) - len(short.done_at)))
        self.rate.append(full.rate)
        self.first += [result.done_at[0] - result.asked_at for result in (short, full)]

    @property
    def last(self) -> str:
        return f"{1000 * self.cpu[-1]:6.0f} ms {self.rate[-1]:6.1f} pages/s"


@dataclass(frozen=True, slots=True)
class Side:
    name: str
    command: tuple[str, ...]
    folder: Path
    """Where it runs."""
    scratch: Path
    environment: dict[str, str]
    at_once: tuple[str, ...] = ()
    """Settings that say how many pages are in flight."""

    def run(self, run: Run, *, watch: bool = False) -> Result:
        """Render those addresses. Raises RunFailed."""
        urls, report, log = (self.scratch / name for name in ("urls.txt", "report.json", "log.txt"))
        urls.write_text("".join(f"{url}\n" for url in run.urls))
        report.unlink(missing_ok=True)
        words = [word for name in self.at_once for word in ("-s", f"{name}={run.at_once}")]
        given = {"BENCH_URLS": str(urls), "BENCH_REPORT": str(report), "BENCH_AT_ONCE": str(run.at_once)}
        with log.open("wb") as output:
            tree = Tree([*self.command, *words], self.folder, {**os.environ, **self.environment, **given}, output)
            usage = tree.run(watch=watch)
        said = json.loads(report.read_text()) if report.exists() else {"asked_at": 0, "done_at": []}
        if len(said["done_at"]) != len(run.urls):
            end = log.read_text(errors="replace")[-2000:]
            raise RunFailed(f"{self.name}: {len(said['done_at'])} of {len(run.urls)} pages\n{end}")
        peak = max((size for _, size in usage.memory), default=0.0)
        return Result(usage.cpu, said["asked_at"], said["done_at"], peak, usage.memory)


def sides_of(folder: Path, executable: str) -> list[Side]:
    """All of them, with that Chromium."""
    nothing = dict.fromkeys(("REDIS_URL", "KAFKA_BOOTSTRAP_SERVERS", "SCHEMA_REGISTRY_URL", "CLAIM_CHECK_URL"), "")
    browsers = folder / "browsers"
    browsers.mkdir()
    environment = {"PYTHONPATH": str(ROOT), "BENCH_EXECUTABLE": executable}
    scrapy = (sys.executable, "-m", "scrapy", "runspider")
    own = {**nothing, "BROWSER_EXECUTABLE": executable, "BROWSER_TMP_DIR": str(browsers), "LOG_LEVEL": "INFO"}
    own |= {"ALLOWED_PRIVATE_NETWORKS": "127.0.0.0/8", "SCRAPY_SETTINGS_MODULE": "crawlers.settings"}
    shared = ("CONCURRENT_REQUESTS", "CONCURRENT_REQUESTS_PER_DOMAIN")
    return [
        Side(README, (*scrapy, str(HERE / "readme_spider.py")), folder, folder, environment, shared),
        Side(BARE, (sys.executable, str(HERE / "bare_loop.py")), folder, folder, environment),
        Side(
            POOL,
            (*scrapy, str(HERE / "pool_spider.py")),
            *(ROOT, folder, {**environment, **own}),
            (*shared, "BROWSER_PAGES"),
        ),
    ]


def first_pages(folder: Path, executable: str, url: str, rounds: int) -> tuple[float, float]:
    """Seconds until the pool's first page: from nothing, and with a browser that was started ahead."""
    command = [sys.executable, str(HERE / "first_page.py"), executable, str(folder / "browsers"), url]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    said = [
        json.loads(subprocess.run(command, env=environment, capture_output=True, check=True).stdout.splitlines()[-1])
        for _ in range(rounds)
    ]
    return median(one["cold"] for one in said), median(one["warm"] for one in said)

"""Part `politeness`: what the servers' own logs tell of five workers.

Rates and gaps are of requests as the demo shop received them, robots.txt among them, in one domain that may be asked
ten times a second. Saturated: twenty more domains without a delay, answered at once in the worker, whose pages of a
hundred links keep every core busy.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import psutil
from scrapy.utils.project import get_project_settings

from bench.frontier.bench import Bench
from bench.frontier.scrapy_fleet import ScrapyFleet
from bench.frontier.table import Budget, Row
from bench.frontier.web import running_web
from deploy.demo_shop import DemoShop, running_shop

WORKERS = 5
_DELAY = 0.1
_SECONDS = 30.0
_BEGINNING = 2.0
"""Seconds after the last worker's start that the mean rate leaves out."""
_SEEDS = 4000
_DOMAINS = 500
_LEASE = 5.0
"""Seconds until a killed worker's leases return."""
_URGENT = -10
"""As nice counts."""
_RATE = Budget(10.5, 9.5)
_GAP = Budget(least=80)
_HANDLERS = {
    "http": "crawlers.frontier.sending.DepartingHTTPHandler",
    "https": "bench.frontier.site.BusyHandler",
}


def politeness(bench: Bench) -> list[Row]:
    """Rate and gaps on one domain: idle, over restarts, saturated; then the fairness of many domains."""
    with _urgent():
        return [*_one_domain(bench), *_restarts(bench), *_saturated(bench), *_fairness(bench)]


@contextmanager
def _urgent() -> Iterator[None]:
    """The servers, which are threads of this process, come before its workers: else a full core delays their logs."""
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    try:
        os.setpriority(os.PRIO_PROCESS, 0, _URGENT)
    except PermissionError:
        print("  no right to put the servers before the workers: gaps tell of full cores too", file=sys.stderr)
    try:
        yield
    finally:
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, usual)


def _one_domain(bench: Bench) -> list[Row]:
    with _crawl(bench) as (shop, fleet):
        fleet.start(WORKERS)
        times = _watched(shop)
    return _rows(bench, f"{WORKERS} workers, one domain at 10/s", times)


def _saturated(bench: Bench) -> list[Row]:
    """Nothing waits but the domain: every core is full of other domains' pages."""
    with _crawl(bench, _busy_site()) as (shop, fleet):
        fleet.start(WORKERS)
        cpu, began = _cpu_of_all(), time.monotonic()
        times = _watched(shop)
        used = (_cpu_of_all() - cpu) / (time.monotonic() - began)
    return [
        *_rows(bench, f"{WORKERS} workers saturated", times),
        Row("  cores that were busy meanwhile", used, digits=2),
    ]


def _restarts(bench: Bench) -> list[Row]:
    """All workers end and others begin: the domain's next request keeps its distance, and nothing is made up for."""
    rows = []
    for what, end in (("SIGTERM", ScrapyFleet.stop), ("SIGKILL", ScrapyFleet.kill)):
        with _crawl(bench) as (shop, fleet):
            fleet.start(WORKERS)
            time.sleep(5)
            end(fleet)
            ended = time.monotonic()
            fleet.start(WORKERS)
            time.sleep(10)
            times = _arrivals(shop)
        after = [moment for moment in times if moment > ended]
        bench.say(f"{what}: {len(times)} requests, {len(after)} of them after the restart")
        rows += [
            Row(f"{what} of all, restart: smallest gap", 1000 * _smallest(times), "ms", budget=_GAP, digits=0),
            Row("  most requests in any second", _most_in_a_second(times), budget=Budget(most=12), digits=0),
            Row("  from the end of the old to the new's first", after[0] - ended, "s", digits=2),
        ]
    return rows


def _fairness(bench: Bench) -> list[Row]:
    """More domains than the workers can serve at their full rate: each gets the same."""
    if sys.platform != "linux":
        return []
    with running_web(_DOMAINS) as web, _folder(bench) as sites:
        seeds = [f"http://{domain}/p/0" for domain in web.domains]
        (sites / "many.toml").write_text(_toml("many", web.domains, seeds, delay=0.5, follow=".*"))
        with ScrapyFleet(bench.server, sites, ROBOTSTXT_OBEY=0) as fleet:
            fleet.start(WORKERS)
            time.sleep(5)
            began = time.monotonic()
            time.sleep(2 * _SECONDS)
            ended = time.monotonic()
            fleet.kill()
    counts = sorted(sum(began < moment <= ended for moment in moments) for moments in web.asked.values())
    what = f"{_DOMAINS} domains: pages of the least served"
    gaps = [gap for moments in web.asked.values() for gap in _gaps(moments)]
    return [
        Row(what, counts[0], "", "the most served", counts[-1], counts[0] / counts[-1], Budget(least=0.8), 0),
        Row("  pages per second, all domains", sum(counts) / (ended - began), "/s", digits=0),
        Row("  smallest gap of any, of 500 ms", 1000 * min(gaps), "ms", budget=Budget(least=400), digits=0),
    ]


def _rows(bench: Bench, what: str, times: list[float]) -> list[Row]:
    gaps = sorted(_gaps(times))
    bench.say(f"{what}: {len(times)} requests, gaps {[round(1000 * gap) for gap in gaps[:5]]}")
    return [
        Row(f"{what}: requests per second", len(gaps) / (times[-1] - times[0]), "/s", budget=_RATE, digits=2),
        Row("  smallest gap", 1000 * gaps[0], "ms", budget=_GAP, digits=0),
        Row("  1st percentile of the gaps", 1000 * gaps[len(gaps) // 100], "ms", digits=0),
    ]


@contextmanager
def _crawl(bench: Bench, *others: str) -> Iterator[tuple[DemoShop, ScrapyFleet]]:
    """A demo shop of the bench's own, and a fleet without workers, whose sites are one of its domains and `others`."""
    with running_shop(base_port=0) as shop, _folder(bench) as sites:
        seeds = [f"{shop.urls[0]}/?n={n}" for n in range(_SEEDS)]
        (sites / "polite.toml").write_text(_toml("polite", shop.domains[:1], seeds, delay=_DELAY))
        for number, text in enumerate(others):
            (sites / f"other{number}.toml").write_text(text)
        wiring = {**get_project_settings().getdict("FRONTIER_SETTINGS"), "DOWNLOAD_HANDLERS": _HANDLERS}
        with ScrapyFleet(bench.server, sites, FRONTIER_LEASE_SECONDS=_LEASE, FRONTIER_SETTINGS=wiring) as fleet:
            yield shop, fleet


@contextmanager
def _folder(bench: Bench) -> Iterator[Path]:
    bench.empty()
    with tempfile.TemporaryDirectory(prefix="seine-bench-") as folder:
        yield Path(folder)


def _toml(name: str, domains: list[str], seeds: list[str], delay: float, follow: str = "^$") -> str:
    """A site; TOML's lists of texts are JSON's."""
    return (
        f"name = {json.dumps(name)}\ndomains = {json.dumps(domains)}\nseeds = {json.dumps(seeds)}\n"
        f"[follow]\nallow = [{json.dumps(follow)}]\n[limits]\ndelay = {delay}\nconcurrency = 16\n"
    )


def _busy_site() -> str:
    domains = [f"busy{n}.bench" for n in range(20)]
    return _toml("other0", domains, [f"https://{domain}/p/0" for domain in domains], delay=0.0, follow="/p/")


def _watched(shop: DemoShop) -> list[float]:
    """The arrivals of a while, from when the workers have settled down."""
    time.sleep(_BEGINNING)
    began = time.monotonic()
    time.sleep(_SECONDS)
    return [moment for moment in _arrivals(shop) if moment >= began]


def _arrivals(shop: DemoShop) -> list[float]:
    return sorted(entry["start"] for entry in shop.log(domain=shop.domains[0]))


def _gaps(times: list[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(times)]


def _smallest(times: list[float]) -> float:
    return min(_gaps(times))


def _most_in_a_second(times: list[float]) -> int:
    return max(sum(first <= moment < first + 1 for moment in times) for first in times)


def _cpu_of_all() -> float:
    """Seconds that all cores together were busy."""
    used = psutil.cpu_times()
    return float(used.user + used.nice + used.system)

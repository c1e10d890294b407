"""CPU per page of the whole path to Kafka, beside plain Scrapy with the same extraction: `make bench`.

The kinds of crawl take turns over the same pages of the same demo shop, in `--rounds` rounds. CPU is user and system
time of the whole worker process, threads included. A crawl of one page, run each time beside the long one, is
subtracted, so that starting and ending cost nothing: (long - one) / (pages of long - pages of one).
"""

from __future__ import annotations

import argparse
import os
import pstats
import secrets
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from confluent_kafka.admin import AdminClient
from confluent_kafka.schema_registry import SchemaRegistryClient
from scrapy.utils.project import get_project_settings

from bench.worker import Crawl, CrawlFailed, Usage
from deploy.demo_shop.process import ShopProcess
from deploy.demo_shop.shop import Shop
from deploy.demo_shop.site_files import site_toml
from deploy.local import Stack, StackConfig

ROOT = Path(__file__).resolve().parents[1]
PLAIN, FILE = "plain Scrapy, JSON lines", "Seine, JSON lines"
KAFKA, UNAUDITED = "Seine, Kafka", "Seine, Kafka, no audit"


@dataclass(slots=True)
class Figures:
    """What the rounds of one kind of crawl measured."""

    cpu: list[float] = field(default_factory=list)
    """Milliseconds per page."""
    start: list[float] = field(default_factory=list)
    """Seconds of CPU of a crawl of one page."""
    rss: list[float] = field(default_factory=list)
    last: Usage | None = None

    def add(self, one: Usage, full: Usage) -> None:
        if full.pages <= one.pages or not full.items:
            raise CrawlFailed(f"the long crawl fetched {full.pages} pages with {full.items} items")
        self.cpu.append(1000 * (full.cpu - one.cpu) / (full.pages - one.pages))
        self.start.append(one.cpu)
        self.rss.append(full.rss)
        self.last = full


@dataclass(frozen=True, slots=True)
class Bench:
    """The crawls by name, and the lists of URLs that they are given."""

    crawls: dict[str, Crawl]
    one: Path
    full: Path

    def measure(self, rounds: int) -> dict[str, Figures]:
        figures = {name: Figures() for name in self.crawls}
        for number in range(1, rounds + 1):
            for name, crawl in self.crawls.items():
                figures[name].add(crawl.run(self.one, follow=False), crawl.run(self.full, follow=True))
                print(f"  round {number}  {name:<26}{figures[name].cpu[-1]:7.3f} ms", file=sys.stderr, flush=True)
        return figures

    def profile(self, name: str) -> pstats.Stats:
        """Of one long crawl; the event loop's thread only, which is the one that runs Python."""
        crawl = self.crawls[name]
        data = crawl.scratch / "profile"
        crawl.run(self.full, follow=True, python=("-m", "cProfile", "-o", str(data)))
        return pstats.Stats(str(data))


def stack_environment() -> dict[str, str]:
    """What points the spiders at Kafka and the registry: the caller's own, or the embedded stack's, started."""
    names = ("KAFKA_BOOTSTRAP_SERVERS", "SCHEMA_REGISTRY_URL")
    found = {name: os.environ[name] for name in names if os.environ.get(name)}
    if len(found) < len(names):
        stack = Stack(StackConfig.from_settings(get_project_settings()))
        stack.up(["kafka", "schema_registry"])
        found = {name: stack.env()[name] for name in names}
    return {**found, "KAFKA_CREATE_TOPICS": "1", "SCHEMA_REGISTRY_AUTO_REGISTER": "1"}


@contextmanager
def own_topics(stack: dict[str, str]) -> Iterator[dict[str, str]]:
    """Topics that no other run knows; removed in the end, and the subject with them."""
    products = f"bench-{secrets.token_hex(4)}"
    letters, pages = f"{products}.dlq", f"{products}.pages"
    topics = {"KAFKA_TOPIC_PRODUCTS": products, "KAFKA_TOPIC_DEAD_LETTERS": letters, "KAFKA_TOPIC_PAGES": pages}
    try:
        yield topics
    finally:
        with suppress(Exception):
            admin = AdminClient({"bootstrap.servers": stack["KAFKA_BOOTSTRAP_SERVERS"]})
            for done in admin.delete_topics(list(topics.values())).values():
                done.result()
        with suppress(Exception):
            registry = SchemaRegistryClient({"url": stack["SCHEMA_REGISTRY_URL"]})
            for topic in (products, pages):
                registry.delete_subject(f"{topic}-value")


@contextmanager
def own_shop(folder: Path, cpu: int | None) -> Iterator[list[str]]:
    """The addresses of a demo shop of the bench's own, on the given CPU."""
    shop = ShopProcess(folder, _free_ports(4))
    urls = shop.up()
    pid = shop.pid()
    if cpu is not None and pid is not None:
        os.sched_setaffinity(pid, {cpu})
    try:
        yield urls
    finally:
        shop.down()


def _free_ports(count: int) -> int:
    """The first of `count` neighbouring ports of loopback that are free now."""
    for first in range(28100, 32000, count):
        sockets = [socket.socket() for _ in range(count)]
        try:
            for offset, sock in enumerate(sockets):
                sock.bind(("127.0.0.1", first + offset))
            return first
        except OSError:
            continue
        finally:
            for sock in sockets:
                sock.close()
    raise SystemExit("no free ports for the demo shop")


def write_urls(folder: Path, bases: list[str], pages: int) -> tuple[Path, Path]:
    """Two lists: one product's address, and `pages` of all products, told apart by a parameter that changes nothing."""
    shop = Shop()
    shop.bases = bases
    products = [shop.url(product) for product in shop.catalog]
    urls = [f"{products[n % len(products)]}?n={n // len(products)}" for n in range(pages)]
    one, full = folder / "one.txt", folder / "full.txt"
    one.write_text(f"{urls[0]}\n")
    full.write_text("".join(f"{url}\n" for url in urls))
    return one, full


def crawls_in(folder: Path, project: Path, kafka: dict[str, str], cpus: frozenset[int]) -> dict[str, Crawl]:
    """The kinds of crawl, in the order in which they take turns."""
    endpoints = ("REDIS_URL", "KAFKA_BOOTSTRAP_SERVERS", "SCHEMA_REGISTRY_URL", "CLAIM_CHECK_URL")
    nothing = dict.fromkeys(endpoints, "")
    sites = {"SITES_DIR": str(folder / "sites"), "PYTHONPATH": str(project), "LOG_LEVEL": "INFO"}
    plain = str(ROOT / "bench" / "baseline" / "plain_spider.py")
    out = str(folder / "out.jsonl")
    seine = ("crawl", "product_spider")
    return {
        PLAIN: Crawl(("runspider", plain, "-O", out), folder, {"PYTHONPATH": str(project)}, folder, cpus),
        FILE: Crawl((*seine, "-O", out), project, {**sites, **nothing}, folder, cpus),
        UNAUDITED: Crawl(seine, project, {**sites, **nothing, **kafka, "KAFKA_TOPIC_PAGES": ""}, folder, cpus),
        KAFKA: Crawl(seine, project, {**sites, **nothing, **kafka}, folder, cpus),
    }


def table(figures: dict[str, Figures]) -> str:
    base = median(figures[PLAIN].cpu)
    lines = [
        f"{'':<26}{'CPU per page':>14}{'ratio':>8}{'range':>15}{'start':>9}{'peak RSS':>11}{'pages':>8}{'items':>8}"
    ]
    for name, one in figures.items():
        assert one.last is not None
        cpu, span = median(one.cpu), f"{min(one.cpu):.2f}-{max(one.cpu):.2f}"
        lines.append(
            f"{name:<26}{cpu:>11.2f} ms{cpu / base:>8.2f}{span:>15}{median(one.start):>7.2f} s"
            f"{max(one.rss):>7.0f} MiB{one.last.pages:>8}{one.last.items:>8}"
        )
    return "\n".join(lines)


def top_ten(stats: pstats.Stats) -> str:
    """The functions with the most own time, their share of it all, and per page what that is."""
    total = stats.total_tt  # type: ignore[attr-defined]
    rows = sorted(stats.stats.items(), key=lambda row: -row[1][2])[:10]  # type: ignore[attr-defined]
    lines = [f"{'own time':>9}{'share':>7}{'calls':>10}  function"]
    for (path, line, name), (_, calls, own, _, _) in rows:
        where = name if path == "~" else f"{'/'.join(Path(path).parts[-3:])}:{line}({name})"
        lines.append(f"{own:>7.2f} s{own / total:>7.1%}{calls:>10}  {where}")
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.pages", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="how often the crawls take turns (%(default)s)")
    parser.add_argument("--pages", type=int, default=2000, help="addresses in the long list (%(default)s)")
    parser.add_argument("--profile", action="store_true", help="also the top ten functions of the path to Kafka")
    parser.add_argument("--profile-out", type=Path, help="keep the profile in this file too")
    parser.add_argument(
        "--only", choices=("plain", "file", "unaudited", "kafka"), action="append", help="leave the others out"
    )
    parser.add_argument("--project", type=Path, default=ROOT, help="another checkout's folder, to compare")
    return parser.parse_args()


def _run(options: argparse.Namespace, scratch: Path, kafka: dict[str, str]) -> None:
    cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    shop_cpu = cpus[-1] if len(cpus) > 1 else None
    with own_shop(scratch, shop_cpu) as bases:
        (scratch / "sites").mkdir()
        (scratch / "sites" / "demo.toml").write_text(site_toml(bases).replace("pages = 5000", "pages = 0"))
        crawls = crawls_in(scratch, options.project, kafka, frozenset(cpus[:-1]))
        if options.only:
            names = {"plain": PLAIN, "file": FILE, "unaudited": UNAUDITED, "kafka": KAFKA}
            crawls = {name: crawls[name] for name in names.values() if name in [names[o] for o in options.only]}
        bench = Bench(crawls, *write_urls(scratch, bases, options.pages))
        if options.rounds:
            print(table(bench.measure(options.rounds)))
        if options.profile or options.profile_out:
            stats = bench.profile(KAFKA)
            print(f"\nprofile of {KAFKA} (under cProfile, which makes calls dearer)\n{top_ten(stats)}")
            if options.profile_out:
                stats.dump_stats(options.profile_out)


def main() -> None:
    options = _arguments()
    stack = stack_environment()
    with tempfile.TemporaryDirectory(prefix="seine-bench-") as scratch, own_topics(stack) as topics:
        try:
            _run(options, Path(scratch), {**stack, **topics})
        except CrawlFailed as error:
            raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()

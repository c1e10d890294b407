"""A long crawl by a fleet, with a worker killed and the broker restarted in it: `make soak`.

Nothing may be lost: every page's product has to be in Kafka, and the equation has to hold. Memory is read every second
while the crawl goes on, latencies from the workers' own histograms. Everything is the run's own, on loopback.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import requests
from confluent_kafka import Consumer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from bench.page_server import HOST
from bench.soak_site import running_shop
from deploy.local import Ports, Stack, StackConfig

ROOT = Path(__file__).resolve().parents[1]
BUDGET = 300
"""MiB of a worker."""
GROWTH = 1.2
"""Of a worker's memory from the second quarter to the last, at most."""
PHASES = ("frontier", "queue", "first_byte", "download", "callback", "delivery")
_EVERY = 1.0


@dataclass(slots=True)
class Worker:
    """A process of the fleet, and what was seen of it."""

    process: subprocess.Popen[bytes]
    url: str
    rss: list[tuple[float, float]] = field(default_factory=list)
    """(share of the crawl that was done, MiB)."""
    told: str = ""
    """Its metrics as they were last."""

    def look(self, done: float) -> dict[str, float]:
        """The fleet's numbers, by name; none where it does not answer."""
        try:
            self.told = requests.get(f"{self.url}/metrics", timeout=30).text
        except requests.RequestException:
            return {}
        found = {one.name: one.value for one in samples(self.told)}
        self.rss.append((done, found["process_resident_memory_bytes"] / 1024**2))
        return found


class Fleet:
    """Workers of one crawl."""

    def __init__(self, environment: dict[str, str], scratch: Path):
        self._environment = environment
        self.logs = scratch
        self.workers: list[Worker] = []

    def start(self) -> None:
        number = len(self.workers)
        port = Ports.free().redis
        log = self.logs / f"worker-{number}.log"
        own = {"STATUS_PORT": str(port), "WORKER_ID": f"soak-{number}", "FRONTIER_LEASE_SECONDS": "10"}
        command = [sys.executable, "-m", "scrapy", "crawl", "product_spider", "-a", "sites=soak", "--logfile", str(log)]
        environment = {**os.environ, **self._environment, **own}
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
        self.workers.append(Worker(process, f"http://{HOST}:{port}"))

    def running(self) -> list[Worker]:
        return [one for one in self.workers if one.process.poll() is None]

    def kill_one(self) -> None:
        self.running()[0].process.kill()

    def end(self) -> None:
        for one in self.running():
            one.process.kill()
            one.process.wait()


def crawl(fleet: Fleet, stack: Stack, pages: int, workers: int) -> float:
    """Seconds that it took, disturbances and all. SystemExit where it went without one of them, or a worker failed."""
    began = time.monotonic()
    for _ in range(workers):
        fleet.start()
    disturbances = [(0.3, "a worker is killed"), (0.6, "the broker is restarted")]
    shown = 0.1
    done = 0.0
    while running := fleet.running():
        for found in [one.look(done) for one in running]:
            settled = found.get("seine_frontier_accounted", 0) - found.get("open", 0)
            done = max(done, settled / pages)
        if disturbances and done >= disturbances[0][0]:
            _, what = disturbances.pop(0)
            print(f"  {time.monotonic() - began:6.0f} s: {what}", flush=True)
            if "worker" in what:
                fleet.kill_one()
                fleet.start()
            else:
                stack.down(services=["kafka"])
                stack.up(["kafka"])
        if done >= shown:
            memory = ", ".join(f"{one.rss[-1][1]:.0f}" for one in running if one.rss)
            print(f"  {time.monotonic() - began:6.0f} s: {done:.0%}, MiB: {memory}", flush=True)
            shown += 0.1
        time.sleep(_EVERY)
    if disturbances:
        raise SystemExit(f"the crawl ended before {disturbances[0][1]}: take more --pages")
    if failed := [
        one.process.returncode for one in fleet.workers if one.process.returncode not in (0, -signal.SIGKILL)
    ]:
        raise SystemExit(f"workers ended with exit codes {failed}: their logs are in {fleet.logs}")
    return time.monotonic() - began


def samples(text: str) -> Iterator[Any]:
    """Of the metrics in Prometheus's format; what has no outcome yet is summed as `open`."""
    pending = 0.0
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            if one.name == "seine_frontier_requests" and one.labels["term"] in ("pending", "delayed", "leased"):
                pending += one.value
            yield one
    yield type("Sample", (), {"name": "open", "labels": {}, "value": pending})


def percentiles(workers: Iterable[Worker], phase: str) -> list[float]:
    """Seconds of p50, p95 and p99, interpolated in the histograms' buckets as PromQL does."""
    counts: Counter[float] = Counter()
    for worker in workers:
        for one in samples(worker.told):
            if one.name == "seine_phase_seconds_bucket" and one.labels["phase"] == phase:
                counts[float(one.labels["le"])] += one.value
    bounds = sorted(counts)
    found = []
    for share in (0.5, 0.95, 0.99):
        wanted, below, before = share * counts[bounds[-1]], 0.0, 0.0
        for bound in bounds:
            if counts[bound] >= wanted:
                is_last = bound == float("inf")
                part = (wanted - before) / max(1.0, counts[bound] - before)
                found.append(below if is_last else below + (bound - below) * part)
                break
            below, before = bound, counts[bound]
    return found


def delivered(environment: dict[str, str]) -> Counter[bytes]:
    """Records of the topic by key."""
    topic = environment["KAFKA_TOPIC_PRODUCTS"]
    servers = {"bootstrap.servers": environment["KAFKA_BOOTSTRAP_SERVERS"], "group.id": topic}
    consumer = Consumer({**servers, "enable.auto.commit": False, "enable.partition.eof": True})
    unread = set(consumer.list_topics(topic, timeout=30).topics[topic].partitions)
    consumer.assign([TopicPartition(topic, partition, 0) for partition in unread])
    keys: Counter[bytes] = Counter()
    while unread:
        for message in consumer.consume(10_000, timeout=30):
            if message.error() is None:
                keys[message.key() or b""] += 1
            else:
                unread.discard(message.partition() or 0)
    consumer.close()
    return keys


def equation(environment: dict[str, str]) -> dict[str, Any]:
    """As `scrapy frontier status` tells it."""
    command = [sys.executable, "-m", "scrapy", "frontier", "status", "--json"]
    told = subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, check=True, capture_output=True)
    return json.loads(told.stdout)  # type: ignore[no-any-return]


def quarters(workers: Iterable[Worker]) -> list[float]:
    """MiB of a worker in each quarter of the crawl, in the median."""
    rss: dict[int, list[float]] = defaultdict(list)
    for worker in workers:
        for done, size in worker.rss:
            rss[min(3, int(done * 4))].append(size)
    return [median(rss[number] or [0.0]) for number in range(4)]


def report(fleet: Fleet, environment: dict[str, str], pages: int, seconds: float) -> bool:
    """Print it; whether all was as it has to be."""
    keys, status = delivered(environment), equation(environment)
    parts, peak = quarters(fleet.workers), max(size for one in fleet.workers for _, size in one.rss)
    print(f"\n{pages:,} pages by {len(fleet.workers) - 1} workers in {seconds:.0f} s: {pages / seconds:.0f} pages/s")
    print(f"products in Kafka: {len(keys):,} of {pages:,}, {keys.total() - len(keys):,} records twice")
    right = ", ".join(f"{count:,} {term}" for term, count in status["right"].items() if count)
    beside = ", ".join(f"{count:,} {term}" for term, count in status["beside"].items() if count)
    print(f"equation: {status['known']:,} known = {status['accounted']:,}: {right}; beside it {beside}")
    sizes = ", ".join(f"{size:.0f}" for size in parts)
    print(f"MiB of a worker by quarter: {sizes}; peak {peak:.0f} (budget {BUDGET})\n")
    print("| phase | p50 | p95 | p99 |\n|---|---|---|---|")
    for phase in PHASES:
        print(f"| {phase} | {' | '.join(f'{1000 * one:,.0f} ms' for one in percentiles(fleet.workers, phase))} |")
    is_flat = all(parts) and parts[3] <= GROWTH * parts[1]
    return len(keys) == pages and bool(status["balanced"]) and status["known"] == pages and peak < BUDGET and is_flat


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--pages", type=int, default=100_000, help="(%(default)s)")
    parser.add_argument("--workers", type=int, default=4, help="(%(default)s)")
    parser.add_argument("--domains", type=int, default=8, help="(%(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="seine-soak-") as scratch:
        folder = Path(scratch)
        stack = Stack(StackConfig(folder / "stack", ports=Ports.free()))
        with running_shop(options.pages, options.domains) as shop:
            (folder / "sites").mkdir()
            (folder / "sites" / "soak.toml").write_text(shop.toml())
            stack.up(["redis", "kafka", "schema_registry"])
            topic = f"soak-{secrets.token_hex(4)}"
            environment = {**stack.env(), "SITES_DIR": str(folder / "sites"), "KAFKA_TOPIC_PRODUCTS": topic}
            environment |= {"KAFKA_TOPIC_DEAD_LETTERS": f"{topic}.dlq", "KAFKA_TOPIC_PAGES": f"{topic}.pages"}
            environment |= {"FRONTIER_NAMESPACE": topic, "CLAIM_CHECK_URL": "", "LOG_LEVEL": "WARNING"}
            fleet = Fleet(environment, folder)
            try:
                seconds = crawl(fleet, stack, shop.pages, options.workers)
                is_good = report(fleet, environment, shop.pages, seconds)
            finally:
                fleet.end()
                stack.down(wipe=True)
    if not is_good:
        raise SystemExit(1)


if __name__ == "__main__":
    main()

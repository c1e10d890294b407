"""Memory of a worker while Kafka is away: `make bench-outage`.

A crawl with the settings as shipped is under way when the broker is stopped. It fetches until back-pressure holds it;
the broker stays away for `--seconds`, and comes back. Everything is the run's own, on loopback.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.page_server import HOST, Connection, answer, serving, url_of
from deploy.local import Ports, Stack, StackConfig

ROOT = Path(__file__).resolve().parents[1]
WARM = 500
"""Records that are delivered before the outage."""
BUDGET = 300
"""MiB."""


@dataclass(frozen=True, slots=True)
class Outage:
    """What one was like."""

    page: int
    """Characters of a page."""
    waiting: int
    """Records that waited for Kafka at its end."""
    before: float
    """MiB of the worker when it began."""
    peak: float
    """MiB, from then to the crawl's end."""
    catching_up: float
    """Seconds from the broker's return to the first acknowledgement."""


class Products:
    """Answers every path with a product page of `size` characters."""

    def __init__(self, size: int):
        self._size = size
        self.url = ""

    async def listen(self) -> list[asyncio.Server]:
        server = await asyncio.get_running_loop().create_server(lambda: Connection(self._asked), HOST, 0)
        self.url = url_of(server)
        return [server]

    def _asked(self, path: bytes, transport: asyncio.Transport) -> None:
        number = path.rpartition(b"/")[2].decode()
        answer(transport, self._page(number).encode())

    def _page(self, number: str) -> str:
        """Half of a page is markup, as shops' are; a tenth of it the product's description."""
        offer = {"@type": "Offer", "price": "9.90", "priceCurrency": "EUR"}
        product = {"@context": "https://schema.org", "@type": "Product", "name": f"Product {number}", "sku": number}
        product |= {"offers": offer, "description": secrets.token_hex(self._size // 20)}
        rows = "<li><a href='#x'><b>A tent</b> for two</a></li>" * (self._size // 100)
        head = f"<html><script type='application/ld+json'>{json.dumps(product)}</script>"
        return f"{head}<ul>{rows}</ul><p>{'text ' * (self._size // 13)}</p></html>"


@contextmanager
def running_web(size: int) -> Iterator[str]:
    """The server's URL; it runs in a thread of its own."""
    products = Products(size)
    with serving(products.listen):
        yield products.url


class Worker:
    """A crawl of `pages` pages, read by its log and by what the kernel says of its memory."""

    def __init__(self, scratch: Path, environment: dict[str, str], url: str, pages: int):
        urls = scratch / "urls.txt"
        urls.write_text("".join(f"{url}/p/{number}\n" for number in range(pages)))
        words = ["-s", "DOWNLOAD_DELAY=0", "-s", "CONCURRENT_REQUESTS_PER_DOMAIN=32"]
        command = [sys.executable, "-m", "scrapy", "crawl", "product_spider", "-a", f"urls=@{urls}", *words]
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **environment, "ALLOWED_PRIVATE_NETWORKS": "127.0.0.0/8"},
            stderr=subprocess.PIPE,
        )
        self._events: Counter[tuple[str, str]] = Counter()
        """How many there were, by name and fate."""
        self._first: dict[str, dict[str, Any]] = {}
        self._came = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def await_events(self, name: str, number: int = 1, fate: str = "", seconds: float = 120) -> dict[str, Any]:
        """The first one of that name, as soon as there were so many of that fate."""
        with self._came:
            if not self._came.wait_for(lambda: self._events[name, fate] >= number, seconds):
                raise SystemExit(f"not seen within {seconds:g} s: {number} of {name!r}")
            return self._first[name]

    def events(self, name: str, fate: str = "") -> int:
        """How many there were."""
        with self._came:
            return self._events[name, fate]

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if line.startswith(b"{"):
                self._note(json.loads(line))

    def _note(self, event: dict[str, Any]) -> None:
        with self._came:
            self._events[event["event"], event.get("fate", "")] += 1
            self._first.setdefault(event["event"], event)
            self._came.notify_all()

    def run_for(self, seconds: float) -> None:
        """Return after that long; SystemExit where it ends before."""
        with suppress(subprocess.TimeoutExpired):
            raise SystemExit(f"the worker has ended: exit code {self._process.wait(seconds)}")

    def memory(self, what: str) -> float:
        """MiB: VmRSS is now, VmHWM the peak since `forget_peak`."""
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(what))

    def forget_peak(self) -> None:
        Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(120)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


def measure(stack: Stack, size: int, seconds: float, pages: int) -> Outage:
    """One outage in a crawl of pages of that size."""
    names = {"KAFKA_TOPIC_PRODUCTS": (topic := f"bench-{secrets.token_hex(4)}")}
    names |= {"KAFKA_TOPIC_DEAD_LETTERS": f"{topic}.dlq", "KAFKA_TOPIC_PAGES": f"{topic}.pages"}
    names |= {"FRONTIER_NAMESPACE": topic}
    with tempfile.TemporaryDirectory(prefix="seine-bench-") as scratch, running_web(size) as url:
        worker = Worker(Path(scratch), {**stack.env(), **names, "CLAIM_CHECK_URL": ""}, url, pages)
        try:
            worker.await_events("item", WARM, "acknowledged")
            stack.down(services=["kafka"])
            acknowledged = worker.events("item", "acknowledged")
            worker.forget_peak()
            before = worker.memory("VmRSS")
            worker.run_for(seconds)
            stack.up(["kafka"])
            back = time.monotonic()
            waiting = worker.await_events("kafka back")["in_flight"]
            caught_up = time.monotonic() - back
            worker.await_events("item", acknowledged + waiting, "acknowledged")
            peak = worker.memory("VmHWM")
            worker.stop()
        except BaseException:
            worker.kill()
            raise
    return Outage(size, waiting, before, peak, caught_up)


def table(outages: list[Outage], seconds: float) -> str:
    lines = [f"Kafka away for {seconds:g} s; budget {BUDGET} MiB", ""]
    lines += ["| page | records waiting | before | peak | to the first acknowledgement |", "|---|---|---|---|---|"]
    for one in outages:
        cells = (f"{one.page / 1000:g} kB", one.waiting, f"{one.before:.0f} MiB", f"{one.peak:.0f} MiB")
        lines.append(f"| {' | '.join(map(str, cells))} | {one.catching_up:.1f} s |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.outage", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60, help="how long Kafka is away (%(default)s)")
    parser.add_argument("--pages", type=int, default=20_000, help="pages of the crawl (%(default)s)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[2_000, 20_000, 200_000], help="of a page, characters")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="seine-bench-stack-") as folder:
        stack = Stack(StackConfig(Path(folder), ports=Ports.free()))
        try:
            stack.up(["redis", "kafka", "schema_registry"])
            outages = [measure(stack, size, options.seconds, options.pages) for size in options.sizes]
        finally:
            stack.down()
    print(table(outages, options.seconds))
    if any(one.peak > BUDGET for one in outages):
        raise SystemExit(1)


if __name__ == "__main__":
    main()

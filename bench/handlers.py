"""What event loops and HTTP download handlers cost in plain Scrapy: `python -m bench.handlers`.

All sides fetch the same page of a server on loopback, 16 at once, and do nothing with it; what differs is the loop or
the handler. Each crawl is a process of its own, and sides take turns. CPU is the crawl's, user and system, all threads,
from the spider's opening to its end; so the engine's own share is in every figure alike. What else the machine does
only adds to a round: CPU and pages/s are those of a side's best one, the ratio is the median of the rounds'.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from scrapy import Request, Spider, signals
from scrapy.crawler import AsyncCrawlerProcess
from scrapy.http import Response

from bench.frontier.table import in_turns
from bench.http2 import PROTOCOLS, EitherConnection
from bench.page_server import HOST, Connection, answer, serving, url_of

ROOT = Path(__file__).resolve().parents[1]
BASELINE = "http11, uvloop"
_SCRAPYS = "scrapy.core.downloader.handlers"
_HTTP11 = f"{_SCRAPYS}.http11.HTTP11DownloadHandler"


def _side(handler: str, loop: str | None = "uvloop.Loop", **settings: Any) -> dict[str, Any]:
    handlers = dict.fromkeys(("http", "https"), handler)
    return {"DOWNLOAD_HANDLERS": handlers, "ASYNCIO_EVENT_LOOP": loop, **settings}


SIDES: dict[str, dict[str, Any]] = {
    BASELINE: _side(_HTTP11),
    "http11, asyncio": _side(_HTTP11, None),
    "Seine's http11, uvloop": _side(
        "crawlers.fetching.dialling.GuardedHTTPHandler",
        ALLOWED_PRIVATE_NETWORKS=["127.0.0.0/8"],
        HEADERS_MAXSIZE=262_144,
    ),
    "aiohttp, uvloop": _side(f"{_SCRAPYS}._aiohttp.AiohttpDownloadHandler"),
    "httpx, uvloop": _side(f"{_SCRAPYS}._httpx.HttpxDownloadHandler"),
}
BY_TLS = {
    "httpx HTTP/2, uvloop": _side(f"{_SCRAPYS}._httpx.HttpxDownloadHandler", HTTPX_HTTP2_ENABLED=True),
    "Scrapy's HTTP/2, uvloop": _side(f"{_SCRAPYS}.http2.H2DownloadHandler"),
}
"""HTTP/2, which needs TLS."""
_COMMON = {
    "TWISTED_REACTOR": "twisted.internet.asyncioreactor.AsyncioSelectorReactor",
    "CONCURRENT_REQUESTS_PER_DOMAIN": 16,
    "DOWNLOAD_DELAY": 0,
    "LOG_LEVEL": "ERROR",
    "TELNETCONSOLE_ENABLED": False,
    "REMOTE_CONTROL_ENABLED": False,
}
_PAGE = b"<html><head><title>Shop</title></head><body>" + b"<p>A product and its price</p>" * 360 + b"</body></html>"
_SECONDS = 300

Measured = tuple[float, float]
"""Milliseconds of CPU per page, and pages per second."""


class PageSpider(Spider):
    """Asks `url` for `pages` pages, and measures itself."""

    name = "page_spider"

    def __init__(self, url: str, pages: int, **kwargs: Any):
        super().__init__(**kwargs)
        self._urls = [f"{url}/{number}" for number in range(pages)]
        self.pages = 0
        self.protocols: set[str | None] = set()
        self.cpu = self.seconds = 0.0

    @classmethod
    def from_crawler(cls, crawler: Any, *args: Any, **kwargs: Any) -> Any:
        spider = super().from_crawler(crawler, *args, **kwargs)
        crawler.signals.connect(spider.begin, signal=signals.spider_opened)
        crawler.signals.connect(spider.end, signal=signals.spider_closed)
        return spider

    async def start(self) -> AsyncIterator[Request]:
        for url in self._urls:
            yield Request(url, dont_filter=True)

    def parse(self, response: Response) -> None:
        self.pages += response.body == _PAGE
        self.protocols.add(response.protocol)

    def begin(self) -> None:
        self.cpu, self.seconds = -_cpu(), -perf_counter()

    def end(self) -> None:
        self.cpu += _cpu()
        self.seconds += perf_counter()


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def crawl(side: str, url: str, pages: int) -> None:
    """In this process; prints what it measured."""
    process = AsyncCrawlerProcess({**_COMMON, **(SIDES | BY_TLS)[side]})
    crawler = process.create_crawler(PageSpider)
    process.crawl(crawler, url=url, pages=pages)
    process.start()
    spider: Any = crawler.spider
    if spider.pages != pages:
        raise SystemExit(f"{side}: {spider.pages} of {pages} pages came")
    if side in BY_TLS and not spider.protocols <= {"h2", "HTTP/2"}:
        raise SystemExit(f"{side}: pages came by {spider.protocols}")
    print(json.dumps((1000 * spider.cpu / pages, pages / spider.seconds)))


def measure(sides: list[str], url: str, pages: int, rounds: int) -> dict[str, list[Measured]]:
    """What the rounds of each side measured."""
    found: dict[str, list[Measured]] = {side: [] for side in sides}
    for number in range(rounds):
        for side in in_turns(sides, number):
            command = [sys.executable, "-m", "bench.handlers", "--side", side, "--url", url, "--pages", str(pages)]
            done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=_SECONDS)
            if done.returncode:
                raise SystemExit(f"{side}: exit code {done.returncode}")
            found[side].append(tuple(json.loads(done.stdout)))
            print(f"  round {number + 1}  {side:<24}{found[side][-1][0]:7.3f} ms", file=sys.stderr, flush=True)
    return found


async def _listen(servers: list[asyncio.Server], tls: ssl.SSLContext | None) -> list[asyncio.Server]:
    answering = partial(EitherConnection, _PAGE, partial(Connection, lambda path, transport: answer(transport, _PAGE)))
    servers.append(await asyncio.get_running_loop().create_server(answering, HOST, 0, ssl=tls))
    return servers


def _tls(certificate: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.set_alpn_protocols(PROTOCOLS)
    return context


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.handlers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--pages", type=int, default=1000)
    parser.add_argument(
        "--certificate", help="a PEM file of a certificate and its key: pages come by TLS, and by HTTP/2"
    )
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    if given.side:
        crawl(given.side, given.url, given.pages)
        return
    servers: list[asyncio.Server] = []
    tls = _tls(given.certificate) if given.certificate else None
    with serving(partial(_listen, servers, tls)):
        url = url_of(servers[0])
        sides = [*SIDES, *BY_TLS] if tls else [*SIDES]
        found = measure(sides, url.replace("http", "https") if tls else url, given.pages, given.rounds)
    print(f"{'':<24}{'CPU per page':>14}{'ratio':>8}{'of rounds':>14}{'pages/s':>10}")
    for side, rounds in found.items():
        ratios = [cpu / other for (cpu, _), (other, _) in zip(rounds, found[BASELINE], strict=True)]
        span = f"{min(ratios):.2f}–{max(ratios):.2f}"
        cpu, rate = min(cpu for cpu, _ in rounds), max(rate for _, rate in rounds)
        print(f"{side:<24}{cpu:>11.2f} ms{median(ratios):>8.2f}{span:>14}{rate:>10.0f}")


if __name__ == "__main__":
    main()

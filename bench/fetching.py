"""What guards, robots, walls, identities and proxies add to a page's CPU time: `python -m bench.fetching FOLDER`.

FOLDER is a recording as bench/replay.py describes it. Each page goes through all downloader middlewares, once with
those of this project that look at requests and answers and once without, in turn; and then by itself through what the
download handler and the spider's side add, and through routing, as of a site with `when = "auto"` whose pages are known
to need no browser. A page's tree, product and links are read once, for routing and the spider: they are the spider's.
Pages are not compressed: inflating costs the same both times, and much more than all of this. CPU time of this process,
the best of a few rounds. The exit code is 1 where it is more than the budget.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any

from scrapy import Request, signals
from scrapy.core.downloader.middleware import DownloaderMiddlewareManager
from scrapy.crawler import Crawler
from scrapy.http import Headers, HtmlResponse
from scrapy.utils.misc import build_from_crawler
from scrapy.utils.project import get_project_settings
from scrapy.utils.reactor import install_reactor

from crawlers.browser_rules import BrowserRules
from crawlers.domains import domain_of
from crawlers.reading import PageReading
from crawlers.robots.directives import directives_of
from crawlers.routing.knowledge import LOOKS, Op, field_of
from crawlers.routing.patterns import pattern_of
from crawlers.site_config import Site, UrlRules
from crawlers.spiders.product_spider import ProductSpider
from middlewares.routing import RoutingMiddleware

_ROUNDS = 15
_BUDGET = 0.15
"""Milliseconds per page, together."""
_OURS = (
    "middlewares.guard.GuardMiddleware",
    "middlewares.robots.RobotsMiddleware",
    "middlewares.ban.BanMiddleware",
    "middlewares.compression.CompressionMiddleware",
    "middlewares.identity.IdentityMiddleware",
    "middlewares.proxy.ProxyMiddleware",
)
_PROXIES = ",".join(f"http://10.0.0.{number}:8080" for number in range(1, 51))
_SCRAPYS = {"scrapy.downloadermiddlewares.httpcompression.HttpCompressionMiddleware": 590}
_ROBOTS = "User-agent: *\n" + "".join(f"Disallow: /closed-{n}/\n" for n in range(40)) + "Disallow: /*?sort=\n"
_HEADERS = {"Content-Type": "text/html; charset=utf-8", "Server": "nginx", "Vary": "Accept", "Date": "now", "Age": "0"}

Page = tuple[str, bytes]
"""Address and body."""


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.fetching", description=__doc__)
    parser.add_argument("folder", type=Path, help="holds html/ID.html.gz and ground-truth.json")
    folder = parser.parse_args(argv).folder
    truth = json.loads((folder / "ground-truth.json").read_text("utf-8"))
    pages: list[Page] = []
    for id_, about in truth.items():
        pages.append((about["url"], gzip.decompress((folder / "html" / f"{id_}.html.gz").read_bytes())))
    install_reactor("twisted.internet.asyncioreactor.AsyncioSelectorReactor", "uvloop.Loop")
    asyncio.run(_measure(pages))


async def _measure(pages: list[Page]) -> None:
    without, ours = _Way(ours=False), _Way(ours=True)
    ours.know_robots({Request(url).url for url, _ in pages})
    rounds = [(await without.cpu(pages), await ours.cpu(pages)) for _ in range(_ROUNDS)]
    plain, guarded = (min(one) for one in zip(*rounds, strict=True))
    headers = Headers(_HEADERS)
    request = Request(pages[0][0])
    told, untold = (
        _best(
            lambda way=way: way.crawler.signals.send_catch_log(
                signals.headers_received, request=request, spider=None, headers=headers, body_length=1
            ),
            2000,
        )
        for way in (ours, without)
    )
    answers = [HtmlResponse(url, body=body, headers=_HEADERS) for url, body in pages]
    wishes = _best(lambda: [directives_of(answer, "seine") for answer in answers], 1) / len(answers)
    size = sum(len(body) for _, body in pages) / len(pages)
    routed = await _routed(answers, is_list=False)
    parts = {
        "downloader middlewares": guarded - plain,
        "content type": told - untold,
        "page's wishes": wishes,
        "routing": routed,
    }
    together = 1000 * sum(parts.values())
    print(f"{len(pages)} pages, {size / 1000:.0f} kB each; {1000 * plain:.3f} ms without")
    for name, seconds in parts.items():
        print(f"  {name:<24} {1000 * seconds:.3f} ms/page")
    print(f"  {'together':<24} {together:.3f} ms/page, budget {_BUDGET}")
    print(f"  {'routing, were they lists':<24} {1000 * await _routed(answers, is_list=True):.3f} ms/page")
    if together > _BUDGET:
        raise SystemExit(1)


async def _routed(answers: list[HtmlResponse], *, is_list: bool) -> float:
    """Seconds for a page, of a product or a list: to choose its way, and to see that it is enough.

    A list's links are judged right before, as by the spider: so many shops' would not be remembered.
    """
    rules = {"follow" if is_list else "product": UrlRules(allow=(".",))}
    domains = tuple({domain_of(answer.url) for answer in answers})
    site = Site("shop", domains, browser=BrowserRules(when="auto"), **rules)
    settings = get_project_settings()
    settings.setdict({"FRONTIER_ENABLED": False, "ROUTING_SLIPS": 1e12})
    crawler = Crawler(ProductSpider, settings)
    crawler.spider = crawler._create_spider()
    crawler.spider.sites = {site.name: site}
    routing = RoutingMiddleware.from_crawler(crawler)
    asked = [Request(answer.url, meta={"site": site.name}) for answer in answers]
    if (opening := routing.process_request(asked[0])) is not None:
        await opening
    for answer in answers:
        for look in LOOKS:
            routing._routes.note(site.name, Op("same", field_of(look, pattern_of(answer.url, site))))

    def route(*, after_reading: bool) -> float:
        seconds = 0.0
        for request, answer in zip(asked, answers, strict=True):
            if after_reading:
                reading = PageReading(answer, site)
                assert reading.extraction
                assert sum(map(site.wants, reading.links))
            seconds -= process_time()
            routing.process_request(request)
            assert routing.process_response(request, answer) is answer
            seconds += process_time()
        return seconds / len(answers)

    route(after_reading=True)
    return min(route(after_reading=is_list) for _ in range(_ROUNDS))


class _Way:
    """All downloader middlewares of a crawl, with or without those that this measures."""

    def __init__(self, *, ours: bool):
        settings = get_project_settings()
        settings.set("REDIS_URL", None)
        settings.set("IDENTITY", "browser")
        settings.set("PROXIES", _PROXIES)
        if not ours:
            middlewares = dict(settings.getdict("DOWNLOADER_MIDDLEWARES"))
            settings.set("DOWNLOADER_MIDDLEWARES", middlewares | dict.fromkeys(_OURS) | _SCRAPYS)
        self.crawler = Crawler(ProductSpider, settings)
        self.crawler.spider = self.crawler._create_spider()
        self.crawler._apply_settings()
        self._middlewares = build_from_crawler(DownloaderMiddlewareManager, self.crawler)

    def know_robots(self, urls: set[str]) -> None:
        """As if the robots.txt of each had been fetched."""
        [robots] = [one._robots for one in self._middlewares.middlewares if hasattr(one, "_robots")]
        for url in urls:
            robots._remember("/".join(url.split("/", 3)[:3]), _ROBOTS.encode(), 1e6)

    async def cpu(self, pages: list[Page]) -> float:
        """Seconds for a page."""
        requests = [Request(url) for url, _ in pages]
        sent = iter([HtmlResponse(url, body=body, headers=_HEADERS) for url, body in pages])

        async def download(_: Request) -> HtmlResponse:
            return next(sent)

        started = process_time()
        for request in requests:
            await self._middlewares.download_async(download, request)
        return (process_time() - started) / len(pages)


def _best(work: Callable[[], Any], times: int) -> float:
    """Seconds of CPU time for one run of `work`."""

    def once() -> float:
        started = process_time()
        for _ in range(times):
            work()
        return (process_time() - started) / times

    return min(once() for _ in range(_ROUNDS))


if __name__ == "__main__":
    main()

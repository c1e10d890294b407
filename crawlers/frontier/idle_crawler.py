"""A crawler that crawls nothing: its spider makes requests, and its fingerprinter tells them apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scrapy.crawler import Crawler
from scrapy.spiderloader import get_spider_loader
from scrapy.utils.misc import build_from_crawler, load_object

from crawlers.exceptions import UserError
from crawlers.frontier.wiring import enable_frontier

if TYPE_CHECKING:
    from collections.abc import Mapping


def idle_crawler(settings: Any, spider: str) -> Crawler:
    """The crawler of `scrapy crawl SPIDER`, without a spider. UserError where there is none of that name."""
    settings = settings.copy()
    enable_frontier(settings)
    try:
        kind = get_spider_loader(settings).load(spider)
    except KeyError:
        raise UserError(f"unknown spider {spider!r}: `scrapy list` names them") from None
    crawler = Crawler(kind, settings)
    fingerprinter = load_object(crawler.settings["REQUEST_FINGERPRINTER_CLASS"])
    crawler.request_fingerprinter = build_from_crawler(fingerprinter, crawler)
    return crawler


def with_spider(crawler: Crawler, arguments: Mapping[str, str] | None = None) -> Crawler:
    """`crawler`, with the spider that it has when it gets these arguments. UserError where it needs others."""
    try:
        crawler.spider = crawler.spidercls.from_crawler(crawler, **(arguments or {}))
    except TypeError as error:
        raise UserError(f"{crawler.spidercls.name} cannot be made of these arguments: {error}") from None
    return crawler

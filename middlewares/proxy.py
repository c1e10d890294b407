"""Sends requests through the forward proxies of PROXIES, in turn."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from scrapy.exceptions import NotConfigured

from crawlers.exceptions import UserError

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler


class ProxyMiddleware:
    """Sets `meta["proxy"]`, which Scrapy's HttpProxyMiddleware reads, and `meta["proxy_label"]` for the record.

    A request that brings its own `meta["proxy"]` keeps it.
    """

    def __init__(self, proxies: list[str]):
        self._next = cycle([(url, proxy_label(url)) for url in proxies])

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        proxies = crawler.settings.getlist("PROXIES")
        if not proxies:
            raise NotConfigured
        return cls(proxies)

    def process_request(self, request: Request) -> None:
        """Choose the proxy of `request`, once per request and its retries."""
        if "proxy" not in request.meta:
            request.meta["proxy"], request.meta["proxy_label"] = next(self._next)


def proxy_label(url: str) -> str:
    """`host:port` of a proxy's URL: what records and logs may show. UserError where it is not an http URL."""
    shown = url.rpartition("@")[2]
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise UserError(f"PROXIES: {shown}: expected http://[user:password@]host:port") from None
    if parts.scheme != "http" or not parts.hostname or port is None:
        raise UserError(f"PROXIES: {shown}: expected http://[user:password@]host:port")
    return f"{parts.hostname}:{port}"

"""Reads sitemaps: plain or gzipped, indexes, and the robots.txt that names them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lxml.etree import XMLSyntaxError
from scrapy.utils.gz import gunzip, gzip_magic_number
from scrapy.utils.sitemap import Sitemap, sitemap_urls_from_robots

if TYPE_CHECKING:
    from scrapy.http import Response


class NotASitemap(ValueError):
    """The response holds no sitemap."""


def read_sitemap(response: Response, max_size: int) -> tuple[list[str], list[str]]:
    """(addresses of further sitemaps, addresses of pages) in `response`, gunzipped to at most `max_size` bytes.

    Raises NotASitemap.
    """
    if response.url.endswith("/robots.txt"):
        return list(sitemap_urls_from_robots(response.body, base_url=response.url)), []
    try:
        body = gunzip(response.body, max_size=max_size) if gzip_magic_number(response) else response.body
        sitemap = Sitemap(body)
        addresses = [entry["loc"] for entry in sitemap if entry.get("loc")]
    except (OSError, EOFError, StopIteration, XMLSyntaxError, ValueError) as error:
        raise NotASitemap(str(error)) from None
    if sitemap.type == "sitemapindex":
        return addresses, []
    if sitemap.type == "urlset":
        return [], addresses
    raise NotASitemap(f"its root is <{sitemap.type}>")

"""Finds the walls of a crawl's sites: by what all walls look like, and by each site's own rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crawlers.bans.detecting import find_wall
from crawlers.bans.site_rules import SiteWalls
from crawlers.budgets import site_of

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Response

    from crawlers.bans.detecting import Wall


class WallFinder:
    """Of one crawler; a site's rules are compiled once."""

    def __init__(self, crawler: Crawler):
        self._crawler = crawler
        self._statuses = frozenset(int(status) for status in crawler.settings.getlist("BAN_STATUSES"))
        self._own: dict[str, SiteWalls] = {}

    def find(self, request: Request, response: Response) -> Wall | None:
        """The wall that the decompressed answer to `request` is; None where it is none, or nobody is to look."""
        own = self._walls_of(request)
        if own is not None and not own.is_on:
            return None
        return find_wall(response.url, response.status, response.headers, response.body, self._statuses, own)

    def _walls_of(self, request: Request) -> SiteWalls | None:
        site = site_of(request, self._crawler.spider)
        if site is None:
            return None
        if site.name not in self._own:
            self._own[site.name] = SiteWalls(site)
        return self._own[site.name]

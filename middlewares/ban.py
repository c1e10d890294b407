"""Sees the walls that sites show instead of pages, tells who wants to know, and has the request tried again later."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import structlog
from scrapy import Request
from scrapy.downloadermiddlewares.retry import get_retry_request
from scrapy.http import Response

from browser_pool.pictures import picture_of
from crawlers import metrics
from crawlers.bans.finding import WallFinder
from crawlers.bans.hooks import ban_detected, load_solver
from crawlers.bans.signatures import CAPTCHA
from crawlers.budgets import site_name
from crawlers.measuring import OTHER_SITES
from crawlers.refusals import Banned
from crawlers.robots.fetching import ROBOTS_TXT

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from scrapy.crawler import Crawler

    from crawlers.bans.detecting import Wall
    from crawlers.bans.hooks import CaptchaSolver

log = structlog.get_logger("seine.ban")

_TRIES = "captcha_tries"
"""The meta key of how often a solver has sent a request in this one's place."""


class BanMiddleware:
    """Works on decompressed answers, after redirects. A wall ends the attempt: the frontier tries the request again,
    later and slower, and after the last attempt it is dead as its kind, which is its letter's reason.

    A CAPTCHA is first shown to the operator's solver, where there is one; its letter gets a picture of it.
    """

    def __init__(self, crawler: Crawler, solver: CaptchaSolver | None):
        settings = crawler.settings
        self._crawler = crawler
        self._solver = solver
        self._patience = settings.getfloat("CAPTCHA_SOLVER_TIMEOUT")
        self._most_tries = settings.getint("RETRY_TIMES")
        self._is_durable = settings.getbool("FRONTIER_ENABLED")
        self._walls = WallFinder(crawler)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        return cls(crawler, load_solver(crawler))

    def process_response(self, request: Request, response: Response) -> Response | Awaitable[Response | Request]:
        """The response, or what comes in its place. Raises Banned."""
        if ROBOTS_TXT in request.meta:
            return response
        wall = self._walls.find(request, response)
        return response if wall is None else self._meet(wall, request, response)

    async def _meet(self, wall: Wall, request: Request, response: Response) -> Response | Request:
        metrics.BANS.labels(wall.kind, wall.vendor).inc()
        metrics.SITE_BANS.labels(site_name(request, self._crawler.spider) or OTHER_SITES).inc()
        self._crawler.stats.inc_value(f"bans/{wall.kind}")  # type: ignore[union-attr]
        log.warning("wall", url=request.url, status=response.status, **wall._asdict())
        self._crawler.signals.send_catch_log(ban_detected, request=request, response=response, kind=wall.kind)
        if wall.kind == CAPTCHA and (solved := await self._solve(request, response)) is not None:
            return solved
        if not self._is_durable:
            spider: Any = self._crawler.spider
            if again := get_retry_request(request, spider=spider, reason=wall.kind):
                return again
        picture = partial(picture_of, self._crawler, request, response) if wall.kind == CAPTCHA else None
        raise Banned(wall.kind, f"{wall.vendor or 'a wall'}: {wall.sign}", response, picture)

    async def _solve(self, request: Request, response: Response) -> Response | Request | None:
        tries = request.meta.get(_TRIES, 0)
        if self._solver is None or tries > self._most_tries:
            return None
        try:
            solved = await asyncio.wait_for(self._solver.solve(request, response), self._patience)
        except TimeoutError:
            log.warning("CAPTCHA not solved in time", url=request.url, seconds=self._patience)
            return None
        except Exception:
            log.exception("CAPTCHA solver failed", url=request.url)
            return None
        if isinstance(solved, Request):
            solved.meta[_TRIES] = tries + 1
            return solved
        return solved if isinstance(solved, Response) and self._walls.find(request, solved) is None else None

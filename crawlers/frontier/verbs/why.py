"""What became of a URL: as Redis knows it; what it does not know, or no longer, as the audit trail does."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Group
from scrapy import Request

from crawlers.audit_history import PATIENCE, History, TrailSearch
from crawlers.domains import domain_of, is_web_url
from crawlers.durations import seconds_of
from crawlers.exceptions import UserError
from crawlers.frontier import display, history_display, routes_display
from crawlers.frontier.display import report
from crawlers.frontier.fingerprints import PROJECT, fingerprinting
from crawlers.frontier.fleet import Fleet
from crawlers.frontier.idle_crawler import idle_crawler
from crawlers.frontier.verbs.answering import DONE, NO_ANSWER, show
from crawlers.frontier.verbs.routes import route_of
from crawlers.frontier.whereabouts import Search
from crawlers.frontier.wiring import uses_frontier
from crawlers.site_config import load_sites
from pipelines.page_events import is_audited

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from rich.console import RenderableType
    from scrapy.crawler import Crawler

    from crawlers.frontier.whereabouts import Trace
    from crawlers.routing.knowledge import PatternReport


class Known(NamedTuple):
    """What Redis knows of a request."""

    crawl: str | None
    """The crawl that was looked into; None where Redis has none that is meant."""
    fingerprint: bytes
    traces: Sequence[Trace] = ()
    kept: int = 0
    """Seconds that outcomes are kept."""
    route: PatternReport | None = None
    """What routing knows of its pattern."""

    @property
    def is_enough(self) -> bool:
        """Whether it tells what became of the request."""
        return any(trace.fate != "forgotten" for trace in self.traces)


async def why(settings: Any, args: list[str], opts: argparse.Namespace) -> int:
    """What became of a URL."""
    [url] = args
    if not is_web_url(url):
        raise UserError(f"{url}: expected an http or https URL")
    since = time.time() - seconds_of(opts.since) if opts.since else 0.0
    crawler = idle_crawler(settings, opts.spider)
    fingerprint = fingerprinting(crawler, PROJECT)(Request(url))
    known = await _known(settings, crawler, url, opts) if _asks_redis(settings) else Known(None, fingerprint)
    parts: list[RenderableType] = [display.traces(url, known.crawl, known.traces, known.kept)]
    told: dict[str, Any] = {
        "url": url,
        "crawl": known.crawl,
        "fingerprint": known.fingerprint.hex(),
        "requests": [asdict(one) for one in known.traces],
    }
    if known.route is not None:
        parts.append(report([("route", routes_display.line(known.route))]))
        told["route"] = known.route.told
    history = None
    if is_audited(settings) and not known.is_enough:
        crawl = opts.crawl or (known.crawl if known.traces else None)
        search = TrailSearch(crawl, since, opts.seconds or PATIENCE)
        history = await asyncio.to_thread(History.read, settings, fingerprint, search)
        parts.append(history_display.history(history))
        told["audit"] = history.told
    show(Group(*parts), told, opts)
    return DONE if known.traces or (history is not None and history.events) else NO_ANSWER


def _asks_redis(settings: Any) -> bool:
    """Crawls without a frontier have an audit trail too."""
    return uses_frontier(settings) or not is_audited(settings)


async def _known(settings: Any, crawler: Crawler, url: str, opts: argparse.Namespace) -> Known:
    """What Redis knows. UserError where it has no such crawl, and nothing else would."""
    shared = [site.name for site in load_sites(settings["SITES_DIR"]) if site.limits.shared and site.owns(url)]
    async with Fleet.connected(settings, opts.spider) as fleet:
        crawl = await fleet.find_crawl(opts.crawl) if is_audited(settings) else await fleet.the_crawl(opts.crawl)
        route = await route_of(fleet, url)
        if crawl is None:
            return Known(None, fingerprinting(crawler, PROJECT)(Request(url)), route=route)
        fingerprint = fingerprinting(crawler, await fleet.crawls.formula(crawl))(Request(url))
        traces = await Search(fleet, crawl, fingerprint, [domain_of(url), *shared]).traces()
        return Known(crawl, fingerprint, traces, fleet.options.outcome_seconds, route)

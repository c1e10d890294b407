"""`scrapy frontier seed`: the verb that streams a list of URLs into a crawl."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from crawlers.exceptions import UserError
from crawlers.frontier.crawls import LIST, Definition
from crawlers.frontier.display import console
from crawlers.frontier.fleet import Fleet
from crawlers.frontier.idle_crawler import idle_crawler, with_spider
from crawlers.frontier.lists import ListSeeding
from crawlers.frontier.url_list import UrlList
from crawlers.frontier.verbs.answering import DONE
from crawlers.tasks import end

if TYPE_CHECKING:
    import argparse

_SHOWN = 10
"""Lines that are refused by number; more are counted."""


async def seed(settings: Any, args: list[str], opts: argparse.Namespace) -> int:
    """Seed a crawl with the URLs of a file, or of standard input; 2 where lines were refused."""
    urls = UrlList(args[0])
    urls.open()
    try:
        crawler = with_spider(idle_crawler(settings, opts.spider))
        async with Fleet.connected(settings, opts.spider) as fleet:
            crawl = await _crawl(fleet, opts, urls)
            formula = await fleet.crawls.formula(crawl)

        def refuse(line: int, why: str) -> None:
            if seeding.refused <= _SHOWN:
                print(f"{args[0]}:{line}: {why}", file=sys.stderr)

        seeding = ListSeeding(crawler, fleet.keys, crawl, urls, refuse, formula)
        with contextlib.suppress(NotImplementedError):
            current: Any = asyncio.current_task()
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, current.cancel)
        try:
            await _with_progress(seeding, urls)
        except asyncio.CancelledError:
            print(f"stopped at line {urls.line:,}: the same command goes on from there", file=sys.stderr)
            raise
    finally:
        urls.close()
    return _sum_up(seeding, urls, opts)


async def _crawl(fleet: Fleet, opts: argparse.Namespace, urls: UrlList) -> str:
    """The crawl that is named, else the open one of that list; where there is none, one is opened."""
    if opts.crawl and await fleet.crawls.describe(opts.crawl):
        return await fleet.the_crawl(opts.crawl)
    definition = Definition(follow=opts.follow, source=f"{LIST}{urls.name}")
    depth_first = fleet.settings["FRONTIER_ORDER"] == "depth"
    crawl, _ = await fleet.crawls.open(definition, opts.crawl or "", depth_first=depth_first, listed=True)
    return crawl


async def _with_progress(seeding: ListSeeding, urls: UrlList) -> None:
    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()
    screen = console(stderr=True)
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as progress:
        task = progress.add_task("", total=urls.size)
        work = asyncio.ensure_future(seeding.run())
        try:
            while not work.done():
                doing = "waiting for Redis" if seeding.way_in.is_waiting else "seeding"
                progress.update(task, completed=urls.bytes, description=f"{doing} {urls.name}: {urls.line:,} lines")
                await asyncio.wait([work], timeout=0.2)
        finally:
            await end(work)
    work.result()


def _sum_up(seeding: ListSeeding, urls: UrlList, opts: argparse.Namespace) -> int:
    frontier = seeding.way_in.frontier
    before = f", {seeding.resumed_at:,} of them before" if seeding.resumed_at else ""
    over = f", {frontier.over_limit:,} over a page limit" if frontier.over_limit else ""
    print(f"crawl {frontier.crawl}: {urls.line:,} lines of {urls.name}{before}")
    print(f"  {frontier.added:,} new, {frontier.duplicates:,} known already{over}, {seeding.refused:,} refused")
    print(f"  scrapy crawl {opts.spider} -s FRONTIER_CRAWL_ID={frontier.crawl}")
    if seeding.refused > _SHOWN:
        print(f"{urls.name}: {seeding.refused - _SHOWN:,} more lines are no URLs", file=sys.stderr)
    return UserError.exit_code if seeding.refused else DONE

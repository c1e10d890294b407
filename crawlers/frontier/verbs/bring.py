"""`scrapy frontier import-scrapy-redis`: the verb that brings a queue and a seen-set over."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from crawlers.exceptions import UserError
from crawlers.frontier.display import console
from crawlers.frontier.fleet import Fleet
from crawlers.frontier.idle_crawler import idle_crawler, with_spider
from crawlers.frontier.importing import ScrapyRedisImport
from crawlers.frontier.scrapy_redis_entries import EntryReader
from crawlers.frontier.scrapy_redis_source import ScrapyRedisSource
from crawlers.frontier.verbs.answering import DONE
from crawlers.tasks import end

if TYPE_CHECKING:
    import argparse

    from crawlers.frontier.importing import Imported

_CHANGED = 1


async def import_scrapy_redis(settings: Any, args: list[str], opts: argparse.Namespace) -> int:
    """Bring them over; 2 where requests were refused, 1 where the source changed meanwhile."""
    crawler = with_spider(idle_crawler(settings, opts.spider), _arguments(opts.argument))
    assert crawler.spider is not None
    reader = EntryReader(crawler.settings, crawler.spider, may_run_code=opts.allow_pickle)
    source = ScrapyRedisSource.from_settings(crawler.settings, crawler.spider, opts.from_url)
    try:
        if reader.runs_code and source.queued:
            print(f"seine: warning: {source.queue_key}: reading its entries runs whatever they say", file=sys.stderr)
        async with Fleet.connected(settings, opts.spider) as fleet:
            importing = ScrapyRedisImport(crawler, fleet, source, reader)
            await importing.prepare(opts.fingerprints, opts.crawl or "")
            tally = await _with_progress(importing, source, opts)
    finally:
        source.close()
    return _sum_up(tally, opts)


def _arguments(given: list[str] | None) -> dict[str, str]:
    pairs = [text.partition("=") for text in given or ()]
    if wrong := [name for name, equals, _ in pairs if not equals]:
        raise UserError(f"-a {wrong[0]}: expected NAME=VALUE")
    return {name: value for name, _, value in pairs}


async def _with_progress(importing: ScrapyRedisImport, source: ScrapyRedisSource, opts: argparse.Namespace) -> Imported:
    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()
    screen = console(stderr=True)
    with contextlib.suppress(NotImplementedError):
        current: Any = asyncio.current_task()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, current.cancel)
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as progress:
        task = progress.add_task("", total=source.queued + source.seen)
        work = asyncio.ensure_future(importing.rehearse() if opts.dry_run else importing.run(move=opts.move))
        try:
            while not work.done():
                done = importing.tally.entries + importing.tally.fingerprints
                progress.update(task, completed=done, description=importing.doing)
                await asyncio.wait([work], timeout=0.2)
        except asyncio.CancelledError:
            if not opts.dry_run:
                crawl = importing.tally.crawl
                print(f"stopped: crawl {crawl} stays paused until the same command has gone on", file=sys.stderr)
            raise
        finally:
            await end(work)
    return work.result()


def _sum_up(tally: Imported, opts: argparse.Namespace) -> int:
    refused = tally.refusals.counts.total()
    print(f"crawl {tally.crawl or '(a new one)'}, from {tally.where}{': nothing is changed' if opts.dry_run else ''}")
    if opts.dry_run:
        print(f"  {tally.queue}: {tally.entries:,} requests, {tally.added:,} of which can be imported")
        print(f"  {tally.seen_set}: {tally.fingerprints:,} fingerprints")
    else:
        over = f", {tally.over_limit:,} over a page limit" if tally.over_limit else ""
        print(f"  {tally.queue}: {tally.added:,} new requests, {tally.duplicates:,} known already{over}")
        print(f"  {tally.seen_set}: {tally.known:,} of {tally.fingerprints:,} fingerprints became known")
    print(f"  fingerprints of {tally.formula}: {tally.told_by}")
    if refused:
        print(f"  {refused:,} refused, and left where they are:")
        for reason, number in tally.refusals.counts.most_common():
            print(f"    {number:,}  {reason}: {', '.join(tally.refusals.examples[reason])}")
    if not opts.dry_run:
        _tell_what_now(tally, opts)
    if not tally.unchanged:
        return _CHANGED
    return UserError.exit_code if refused else DONE


def _tell_what_now(tally: Imported, opts: argparse.Namespace) -> None:
    if tally.removed:
        print(f"  removed from {tally.where}{', but for what was refused' if tally.refusals.counts else ''}")
    elif opts.move:
        print(f"  nothing is removed from {tally.where}{': too much was refused' if tally.unchanged else ''}")
    if tally.state == "paused":
        print(f"  it is paused: scrapy frontier resume --spider {opts.spider} --crawl {tally.crawl}")
    print(f"  scrapy crawl {opts.spider} -s FRONTIER_CRAWL_ID={tally.crawl}")
    if not tally.unchanged:
        keys = f"{tally.queue} or {tally.seen_set}"
        print(f"seine: {keys} changed meanwhile: stop the workers that use them, and run this again", file=sys.stderr)

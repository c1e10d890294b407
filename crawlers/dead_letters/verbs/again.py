"""`scrapy dlq replay`: the verb that gives dead letters another chance."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from crawlers.dead_letters.replay import Replay
from crawlers.dead_letters.selection import Selection
from crawlers.dead_letters.topic import LetterTopic
from crawlers.frontier.display import console
from crawlers.tasks import end

if TYPE_CHECKING:
    import argparse


async def replay(settings: Any, args: list[str], opts: argparse.Namespace) -> int:
    """Send requests back to the frontier, and items through the pipelines."""
    with LetterTopic(settings) as topic:
        replaying = Replay(settings, topic, Selection.of(opts), opts.limit, opts.crawl)
        with contextlib.suppress(NotImplementedError):
            current: Any = asyncio.current_task()
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, current.cancel)
        try:
            await _with_progress(replaying, opts)
        except asyncio.CancelledError:
            print(f"stopped after {replaying.done:,} letters: the same command goes on", file=sys.stderr)
            raise
    _sum_up(replaying, opts)
    return 0


async def _with_progress(replaying: Replay, opts: argparse.Namespace) -> None:
    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()
    screen = console(stderr=True)
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as progress:
        task = progress.add_task("", total=None)
        work = asyncio.ensure_future(replaying.rehearse() if opts.dry_run else replaying.run())
        try:
            while not work.done():
                doing = f"{replaying.doing} {replaying.done:,} of {replaying.total:,} letters"
                progress.update(task, completed=replaying.done, total=replaying.total or None, description=doing)
                await asyncio.wait([work], timeout=0.2)
        finally:
            await end(work)
    work.result()


def _sum_up(replaying: Replay, opts: argparse.Namespace) -> None:
    tally = replaying.tally
    total = tally.total()
    print(f"{total:,} letter{'' if total == 1 else 's'}{': nothing is changed' if opts.dry_run else ''}")
    for result, number in tally.most_common():
        print(f"  {number:,} {result}")
    for (_, crawl), (new, known) in replaying.crawls.items():
        print(f"  crawl {crawl}: {new:,} new requests, {known:,} known there")
    for spider, crawl in sorted(replaying.reopened | replaying.crawls.keys()):
        print(f"  scrapy crawl {spider} -s FRONTIER_CRAWL_ID={crawl}")

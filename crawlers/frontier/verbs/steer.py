"""Verbs that steer a crawl, also while workers are at it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crawlers.asking import is_confirmed
from crawlers.exceptions import UserError
from crawlers.frontier import admin
from crawlers.frontier.fleet import Fleet
from crawlers.frontier.verbs.answering import DONE, NO_ANSWER

if TYPE_CHECKING:
    import argparse


async def pause(settings: Any, args: list[str], opts: argparse.Namespace) -> int:
    """Nothing more is leased; workers wait."""
    return await _set(settings, opts, "paused")


async def resume(settings: Any, args: list[str], opts: argparse.Namespace) -> int:
    """A paused, draining or cancelled crawl goes on."""
    return await _set(settings, opts, "running")


async def drain(settings: Any, args: list[str], opts: argparse.Namespace) -> int:
    """Nothing more is leased; workers finish what they have, and end."""
    return await _set(settings, opts, "draining")


async def cancel(settings: Any, args: list[str], opts: argparse.Namespace) -> int:
    """What has no outcome gets one: filtered, cancelled. Then the crawl is complete."""
    return await _set(settings, opts, "cancelled")


async def _set(settings: Any, opts: argparse.Namespace, state: str) -> int:
    async with Fleet.connected(settings, opts.spider) as fleet:
        crawl = await fleet.the_open_crawl(opts.crawl)
        if state == "cancelled":
            waiting = (await fleet.crawls.totals(crawl)).open
            if not is_confirmed(f"Cancel crawl {crawl}, with {waiting:,} requests that have no outcome?", opts):
                return NO_ANSWER
        had = await admin.set_state(fleet, crawl, state)
    print(f"crawl {crawl}: {state}, as it was" if had == state else f"crawl {crawl}: {state}; it was {had}")
    return DONE


async def requeue(settings: Any, args: list[str], opts: argparse.Namespace) -> int:
    """Dead requests get all their attempts again."""
    if not opts.dead:
        raise UserError("requeue what? Only dead requests can be: add --dead")
    async with Fleet.connected(settings, opts.spider) as fleet:
        crawl = await fleet.the_crawl(opts.crawl)
        totals = await fleet.crawls.totals(crawl)
        dead = totals.by_reason("dead").get(opts.reason, 0) if opts.reason else totals.term("dead")
        where = f" of {opts.domain}" if opts.domain else ""
        if dead and not is_confirmed(f"Fetch the dead requests{where} of crawl {crawl} again, {dead:,} at most?", opts):
            return NO_ANSWER
        done = await admin.requeue_dead(fleet, crawl, opts.reason, opts.domain) if dead else admin.Requeued()
        state = await fleet.crawls.state(crawl)
    print(f"crawl {crawl}: {done.revived:,} dead requests are pending again; it is {state}")
    if done.lost:
        print(f"  {done.lost:,} were sent back by somebody else first")
    if done.taken:
        print(
            f"  {done.taken:,} are left to `scrapy dlq replay`, which is at their items: run it again if it has ended"
        )
    if done.revived:
        print(f"  scrapy crawl {opts.spider} -s FRONTIER_CRAWL_ID={crawl}")
    return DONE


async def purge(settings: Any, args: list[str], opts: argparse.Namespace) -> int:
    """A crawl is removed."""
    if bool(opts.crawl) == opts.all_complete:
        raise UserError("purge what? Expected either --crawl ID or --all-complete")
    async with Fleet.connected(settings, opts.spider) as fleet:
        names = await admin.complete_crawls(fleet) if opts.all_complete else [await fleet.the_crawl(opts.crawl)]
        what = f"crawl {names[0]}" if opts.crawl else f"{len(names)} complete crawls"
        if names and not is_confirmed(f"Remove {what} from Redis, with all that is known of their URLs?", opts):
            return NO_ANSWER
        removed = sum([await admin.purge(fleet, name, force=opts.force) for name in names])
    print(f"removed {what}: {removed:,} keys")
    return DONE

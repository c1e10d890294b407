"""`scrapy frontier monitors`: what the last crawls of sites came to, and what is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from crawlers.asking import is_confirmed
from crawlers.exceptions import UserError
from crawlers.frontier import monitors_display
from crawlers.frontier.fleet import Fleet
from crawlers.frontier.verbs.answering import DONE, NO_ANSWER, show
from crawlers.monitors import store

if TYPE_CHECKING:
    import argparse

    from crawlers.monitors.result import SiteResult


async def monitors(settings: Any, args: list[str], opts: argparse.Namespace) -> int:
    """The last result of every site, or the history of one."""
    if len(args) > 1 or (args and opts.forget):
        raise UserError("expected: scrapy frontier monitors [SITE], or monitors --forget SITE")
    async with Fleet.connected(settings, opts.spider) as fleet:
        registry = fleet.connections[0]
        if opts.forget:
            if not is_confirmed(f"Forget the crawls that those of {opts.forget} are compared with?", opts):
                return NO_ANSWER
            if not await store.forget_site(registry, fleet.keys, opts.forget):
                raise _unknown(opts.forget)
        if args:
            rows = await store.read_history(registry, fleet.keys, args[0])
            if not rows:
                raise _unknown(args[0])
            rows = rows[: opts.top]
            show(monitors_display.history(rows), {"site": args[0], "crawls": [_told(row) for row in rows]}, opts)
            return DONE
        rows = (await store.read_results(registry, fleet.keys))[: opts.top]
    show(monitors_display.sites(rows), {"sites": [_told(row) for row in rows]}, opts)
    return DONE


def _unknown(site: str) -> UserError:
    return UserError(f"no crawl of {site} was judged: `scrapy frontier monitors` lists the sites of which one was")


def _told(row: SiteResult) -> dict[str, Any]:
    derived = {"status": row.status, "error_rate": round(row.error_rate, 4), "failed": row.failed}
    return {**msgspec.to_builtins(row), **derived}

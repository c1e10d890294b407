"""`scrapy frontier proxies`: how the fleet's proxies do at each domain, and what their tiers have spent."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from crawlers.exceptions import UserError
from crawlers.frontier import proxies_display
from crawlers.frontier.fleet import Fleet
from crawlers.frontier.verbs.answering import DONE, show
from crawlers.proxies.listing import is_configured, read_proxies, read_tiers
from crawlers.proxies.report import budgets, health_at, most_trouble

if TYPE_CHECKING:
    import argparse


async def proxies(settings: Any, args: list[str], opts: argparse.Namespace) -> int:
    """Those with the most trouble, or all that were tried at one domain. Credentials are nowhere in it."""
    listed = await asyncio.to_thread(read_proxies, settings) if is_configured(settings) else []
    tier_of = {proxy.label: proxy.tier for proxy in listed}
    async with Fleet.connected(settings, opts.spider) as fleet:
        tiers = await budgets(fleet, read_tiers(settings, listed) if listed else [], listed)
        if opts.domain:
            found = await health_at(fleet, opts.domain, tier_of)
            known = len(found)
            if not found:
                raise UserError(f"no proxy was tried at {opts.domain}: `scrapy frontier proxies` shows where some were")
            found = sorted(found, key=lambda one: one.trouble, reverse=True)[: opts.top]
        else:
            found, known = await most_trouble(fleet, opts.top or 20, tier_of)
    told = {
        "tiers": [asdict(one) for one in tiers],
        "known": known,
        "proxies": [{**asdict(one), "success": one.success} for one in found],
    }
    show(proxies_display.proxies(found, known, tiers), told, opts)
    return DONE

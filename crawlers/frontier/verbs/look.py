"""Verbs that change nothing, but for `domains --forget`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from crawlers.asking import is_confirmed
from crawlers.exceptions import UserError
from crawlers.frontier import display, politeness
from crawlers.frontier.fleet import Fleet
from crawlers.frontier.report import summaries
from crawlers.frontier.verbs.answering import DONE, NO_ANSWER, show
from crawlers.frontier.watching import show_status

if TYPE_CHECKING:
    import argparse


async def status(settings: Any, args: list[str], opts: argparse.Namespace) -> int:
    """Where a crawl stands."""
    await show_status(settings, opts.spider, opts.crawl, opts.top or 10, as_json=opts.json, watch=opts.watch)
    return DONE


async def crawls(settings: Any, args: list[str], opts: argparse.Namespace) -> int:
    """The latest crawls."""
    async with Fleet.connected(settings, opts.spider) as fleet:
        found = await summaries(fleet, opts.top or 20)
    show(display.crawls(found), {"crawls": found}, opts)
    return DONE


async def domains(settings: Any, args: list[str], opts: argparse.Namespace) -> int:
    """How domains are asked, and how they are."""
    async with Fleet.connected(settings, opts.spider) as fleet:
        for domain in (opts.domain, opts.forget):
            if domain and not await politeness.is_known(fleet, domain):
                raise UserError(f"no domain {domain} is known: `scrapy frontier domains` lists those that are")
        if opts.forget:
            if not is_confirmed(f"Forget how {opts.forget} was asked, and close its circuit?", opts):
                return NO_ANSWER
            await politeness.forget(fleet, opts.forget)
        if domain := opts.domain or opts.forget:
            found, known = await politeness.politeness_of(fleet, [domain]), 1
        else:
            survey = await politeness.survey(fleet, opts.top or 20)
            found, known = survey.top, survey.known
    show(display.domains(found, known), {"known": known, "domains": [asdict(one) for one in found]}, opts)
    return DONE

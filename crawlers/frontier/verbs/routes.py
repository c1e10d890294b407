"""`scrapy frontier routes`: which of a site's pages need a browser, as the fleet has learnt; the operator's word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crawlers.exceptions import UserError
from crawlers.frontier import routes_display
from crawlers.frontier.fleet import Fleet
from crawlers.frontier.verbs.answering import DONE, show
from crawlers.routing.knowledge import Op, SiteKnowledge
from crawlers.routing.patterns import is_pattern, pattern_of
from crawlers.routing.sharing import command
from crawlers.site_config import load_sites

if TYPE_CHECKING:
    import argparse

    from crawlers.routing.knowledge import PatternReport


async def routes(settings: Any, args: list[str], opts: argparse.Namespace) -> int:
    """What is known of a site's patterns, after what the operator says of one of them."""
    [site] = load_sites(settings["SITES_DIR"], args)
    if site.browser.when != "auto":
        raise UserError(
            f'{site.name}.toml: [browser] when = "{site.browser.when}": routes are those of sites with "auto"'
        )
    said = _said(opts)
    async with Fleet.connected(settings, opts.spider) as fleet:
        known = await known_of(fleet, site.name, *said)
    reports = known.reports()
    show(routes_display.routes(reports), {"site": site.name, "routes": [one.told for one in reports]}, opts)
    return DONE


async def known_of(fleet: Fleet, site: str, *ops: Op) -> SiteKnowledge:
    """What the fleet knows of `site`, once it has been told `ops`."""
    shard = fleet.keys.shard_of(site)
    now, _, flat = await fleet.connections[shard].one(*command(fleet.keys.shard(shard), site, *ops))
    return SiteKnowledge.read(flat, now)


async def route_of(fleet: Fleet, url: str) -> PatternReport | None:
    """What is known of the pattern of `url`; None where its site does not ask for routing."""
    for site in load_sites(fleet.settings["SITES_DIR"]):
        if site.browser.when == "auto" and site.owns(url):
            known = await known_of(fleet, site.name)
            return known.report(known.named(pattern_of(url, site)))
    return None


def _said(opts: argparse.Namespace) -> list[Op]:
    """The operator's word as what is told. UserError where there are several, or it is of no pattern."""
    given = [(name, pattern) for name in ("http", "browser", "learn") if (pattern := getattr(opts, name)) is not None]
    if len(given) > 1:
        raise UserError("--http, --browser and --learn exclude each other: run the command once for each")
    for name, pattern in given:
        if not is_pattern(pattern):
            raise UserError(f'--{name} {pattern}: expected a pattern as `routes` shows it, such as "product /p/*"')
        if name == "learn":
            return [Op("word", pattern, ""), Op("forget", pattern)]
        return [Op("word", pattern, name)]
    return []

"""Judges a crawl that is complete, for the whole fleet: one worker does, and where it dies, another one goes on."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import Counter
from typing import TYPE_CHECKING, Any

import structlog

from crawlers.budgets import budgets_of
from crawlers.exceptions import UserError
from crawlers.frontier.crawls import Definition
from crawlers.monitors import store, telling
from crawlers.monitors.judging import judged
from crawlers.monitors.result import SiteResult, result_of
from crawlers.monitors.rules import MOST_ROWS
from crawlers.monitors.webhook import Webhook
from crawlers.site_config import Site, load_sites
from crawlers.tasks import end

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crawlers.frontier.control import Control
    from crawlers.monitors.store import Budgets

log = structlog.get_logger("seine.monitors")

_MOST_TRIES = 5
"""Workers that a judgement may have cost, until nobody tries any more."""
_PAUSE = 0.5
"""Seconds between two looks at what another worker does."""
_BEYOND = 60.0
"""Seconds past those of another worker's claim and of the webhook, until a worker leaves it at that."""
_LIMITS = ("FRONTIER_CRAWL_PAGES", "FRONTIER_DOMAIN_PAGES")


class FleetMonitors:
    """One worker's part in it. `sites` are those that it knows."""

    def __init__(self, settings: Any, control: Control, sites: Mapping[str, Site]):
        self._settings = settings
        self._control = control
        self._sites = sites
        self._webhook = Webhook.from_settings(settings)
        self._token = secrets.token_hex(8)
        self._seconds = (
            settings.getfloat("FRONTIER_LEASE_SECONDS") + _BEYOND + (self._webhook.seconds if self._webhook else 0.0)
        )
        self._claim_ms = max(1000, round(settings.getfloat("FRONTIER_LEASE_SECONDS") * 1000))
        """A claim holds so long without being renewed, as leases do."""
        self._kept = settings.getint("FRONTIER_KEEP_SECONDS")

    async def judge(self, crawl: str) -> list[SiteResult]:
        """Return once a complete crawl is judged, by whichever worker; what this one has found.

        It raises nothing and takes a bounded time: what is left then is for whoever comes next.
        """
        try:
            async with asyncio.timeout(self._seconds):
                what, left = await self._claim(crawl)
                while what == "busy":
                    await asyncio.sleep(min(_PAUSE, left))
                    what, left = await self._claim(crawl)
                return await self._judge(crawl) if what == "yours" else []
        except TimeoutError:
            log.error("crawl not judged in time", crawl=crawl, seconds=self._seconds)
            await self._control.close()  # an answer may be on its way over its connections
        except Exception:
            log.exception("crawl not judged", crawl=crawl)
        return []

    async def judge_left(self) -> None:
        """Judge the crawls whose workers were gone before that was done."""
        key = f"{self._control.keys.registry}:monitors:due"
        [due] = await self._control.ask(lambda crawls: crawls.ask(("ZRANGE", key, 0, -1)))
        for crawl in due:
            await self.judge(crawl.decode())

    async def _claim(self, crawl: str) -> tuple[str, float]:
        """(yours, busy or done, the seconds that whoever is at it has it for at least)."""
        what, *left = await self._told(crawl, "claim", self._claim_ms, _MOST_TRIES)
        return what.decode(), left[0] / 1000 if left else 0.0

    async def _told(self, crawl: str, action: str, *arguments: str | bytes | float) -> Any:
        return await self._control.ask(lambda crawls: crawls.judge(crawl, self._token, action, *arguments))

    async def _judge(self, crawl: str) -> list[SiteResult]:
        renewing = asyncio.create_task(self._renew(crawl))
        try:
            results, found = await self._all_of(crawl)
            await self._alarm(crawl, results)
            await self._told(crawl, "done", self._kept)
            return found
        finally:
            await end(renewing)

    async def _renew(self, crawl: str) -> None:
        while True:
            await asyncio.sleep(self._claim_ms / 3000)
            await self._claim(crawl)

    async def _all_of(self, crawl: str) -> tuple[list[SiteResult], list[SiteResult]]:
        """(the results whose alarms are not out yet, those that were found here)."""
        described = await self._control.ask(lambda crawls: crawls.describe(crawl))
        definition = Definition.read(described["definition"]) if described else None
        if definition is None:
            return [], []
        budgets = await self._control.ask(lambda crawls: store.read_budgets(crawls, crawl))
        totals = await self._control.ask(lambda crawls: crawls.totals(crawl))
        about = {
            "crawl_id": crawl,
            "ended_at": int(described["closed"]) / 1000,
            "seconds": (int(described["closed"]) - int(described["opened"])) / 1000,
            "scope": self._scope() if totals.term("filtered:page limit") else "",
        }
        untold, found = [], []
        for name in definition.sites:
            result, is_new = await self._of_site(crawl, self._site(name), budgets, about)
            untold += [result] if result else []
            found += [result] if result and is_new else []
        return untold, found

    async def _of_site(
        self, crawl: str, site: Site, budgets: Budgets, about: dict[str, Any]
    ) -> tuple[SiteResult | None, bool]:
        """(the site's result, None where it is out already; whether it is this worker's)."""
        known = await self._control.ask(lambda crawls: store.read_known(crawls, crawl, site.name))
        if known.stage:
            before = next((row for row in known.history if row.crawl_id == crawl), None)
            return before if known.stage == "judged" else None, False
        tally = await self._control.ask(lambda crawls: store.read_tally(crawls, crawl, site.name))
        tally.requests = sum((budgets.get(name, Counter()) for name in budgets_of(site)), Counter[str]())
        prices = known.prices.after(tally)
        facts = prices.facts(known.prices, site.monitors.price_change)
        result = judged(result_of(tally, facts, site=site.name, **about), known.history, site.monitors)
        packed = store.ENCODER.encode(result), prices.pack()
        said = await self._told(crawl, "record", site.name, *packed, MOST_ROWS, self._kept)
        if said != b"recorded":
            return (result if said == b"known" else None), False
        telling.tell(result)
        await self._control.ask(lambda crawls: crawls.everywhere(crawl, ("UNLINK", f"site:{site.name}:sample")))
        return result, True

    async def _alarm(self, crawl: str, results: list[SiteResult]) -> None:
        """What no webhook takes in time is in the log, and is not posted again."""
        if self._webhook is not None:
            await self._webhook.post(self._control.keys.spider, results)
        for result in results:
            await self._told(crawl, "told", result.site)

    def _site(self, name: str) -> Site:
        """A site of the crawl; one whose file is not there any more is judged by the defaults."""
        if (site := self._sites.get(name)) is not None:
            return site
        with contextlib.suppress(UserError):
            return load_sites(self._settings["SITES_DIR"], [name])[0]
        return Site(name=name, domains=())

    def _scope(self) -> str:
        """What a crawl that met a page limit was limited to; the site's own limit is always the same."""
        limits = {name: self._settings.getint(name) for name in _LIMITS}
        return " ".join(f"{name}={limit}" for name, limit in limits.items() if limit)

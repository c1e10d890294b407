"""What a site's crawl came to, and what the monitors say of it: kept in Redis, shown, posted, exported."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from crawlers.monitors.tally import Tally

Level = Literal["warning", "error"]
Status = Literal["ok", "warning", "error"]


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that is not as it should be."""

    monitor: str
    level: Level
    message: str
    value: float
    expected: float
    """The limit that `value` has passed."""
    field: str = ""
    """Of coverage: which."""


class Prices(msgspec.Struct, frozen=True):
    """Of the sample of products."""

    known: int = 0
    """Products in it."""
    currency: str = ""
    """That of most of them."""
    median: float = 0.0
    """Of the prices in that currency; those of nothing are left out."""
    compared: int = 0
    """Products that were in the sample of the crawl before, too."""
    changed: int = 0
    """Those of them whose price changed by more than `price_change`."""
    recoined: int = 0
    """Those of them whose currency is another one."""


class SiteResult(msgspec.Struct, frozen=True):
    """Of one site in one crawl."""

    site: str
    crawl_id: str
    ended_at: float
    """When the crawl was complete, in seconds since the epoch."""
    seconds: float
    """That it lasted."""
    products: int
    read: int
    """Those of them whose page was read; the others were not sent again."""
    coverage: dict[str, float]
    """The share of those that have a field."""
    zero_prices: int
    requests: int
    dead: int
    missing: int
    """Requests for pages that are not there."""
    walls: int
    """Attempts that met one."""
    prices: Prices
    scope: str = ""
    """What limited the crawl; only crawls of the same scope are compared."""
    last_products_at: float = 0.0
    """When a crawl of the site last saw any product."""
    findings: tuple[Finding, ...] = ()
    resolved: tuple[str, ...] = ()
    """Monitors that failed in the crawl before, and do not any more."""

    @property
    def status(self) -> Status:
        """The worst level among the findings."""
        levels = {finding.level for finding in self.findings}
        return "error" if "error" in levels else "warning" if levels else "ok"

    @property
    def failures(self) -> int:
        return self.dead + self.walls

    @property
    def error_rate(self) -> float:
        """The share of requests that died or met a wall."""
        attempts = self.requests + self.walls
        return self.failures / attempts if attempts else 0.0

    @property
    def failed(self) -> dict[str, Level]:
        """The monitors that something is wrong with, each with its worst level."""
        found: dict[str, Level] = {}
        for finding in self.findings:
            if found.get(finding.monitor) != "error":
                found[finding.monitor] = finding.level
        return found

    @property
    def ended(self) -> str:
        """When, in ISO 8601."""
        return datetime.fromtimestamp(self.ended_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def result_of(tally: Tally, prices: Prices, **about: str | float) -> SiteResult:
    """What a site's crawl came to, not judged yet."""
    return SiteResult(
        products=tally.products,
        read=tally.read,
        coverage=tally.coverage(),
        zero_prices=tally.zero_prices,
        requests=tally.asked,
        dead=tally.requests["dead"],
        missing=tally.requests["missing"],
        walls=tally.requests["walls"],
        prices=prices,
        **about,  # type: ignore[arg-type]
    )

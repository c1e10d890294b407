"""A site's `[monitors]`: what is judged of its crawls, and from where on it is an alarm."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, get_args

import msgspec

from crawlers.monitors.counting import FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterator

Monitor = Literal["products", "coverage", "errors", "prices", "currency", "duration"]
MONITORS: tuple[Monitor, ...] = get_args(Monitor)
MOST_ROWS = 30
"""Crawls of a site that are remembered."""


class MonitorRules(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Shares and ratios are numbers such as 0.3; what a crawl is compared with is the median of those before it."""

    off: tuple[Monitor, ...] = ()
    """Those that do not judge."""
    warn: tuple[Monitor, ...] = ()
    """Those that warn only."""
    after: int = 3
    """Crawls until a site's history is believed."""
    window: int = 10
    """Crawls, the last ones, that are compared with."""
    min_products: int = 0
    """Of a crawl."""
    products_ratio: float = 0.7
    """Of the median: fewer products are an error."""
    products_rise: float = 3.0
    """Times the median: more products are a warning."""
    fields: tuple[str, ...] = FIELDS
    """Whose coverage is judged."""
    coverage_drop: float = 0.2
    """By how much the share of products with a field may fall."""
    min_coverage: dict[str, float] = {}
    """Share of products that must have a field, whatever was before."""
    max_error_rate: float = 0.3
    """Share of requests that may be dead or meet a wall, whatever was before."""
    error_rise: float = 0.1
    """By how much that share may rise."""
    price_change: float = 0.3
    """By how much a price must have changed to count."""
    max_price_changes: float = 0.3
    """Share of products whose price may have changed so."""
    price_shift: float = 0.5
    """By how much the median price may rise; it may fall by the same ratio."""
    max_zero_prices: float = 0.02
    """Share of products that may cost nothing."""
    max_currency_changes: float = 0.05
    """Share of products whose currency may be another one."""
    duration_ratio: float = 3.0
    """Times the median that a crawl may last."""


_SHARES = (
    *("products_ratio", "coverage_drop", "max_error_rate", "error_rise", "max_price_changes", "max_zero_prices"),
    "max_currency_changes",
)
_ABOVE = {"products_rise": 1.0, "price_change": 0.0, "price_shift": 0.0, "duration_ratio": 1.0}


def mistakes_of(rules: MonitorRules) -> Iterator[tuple[str, str]]:
    """(key, what is wrong with it), of each that is."""
    for key in _SHARES:
        if not 0 <= (value := getattr(rules, key)) <= 1:
            yield key, f"{key} = {value}: expected a share from 0 to 1, as 0.3"
    for key, least in _ABOVE.items():
        if not least < (value := getattr(rules, key)) < math.inf:
            yield key, f"{key} = {value}: expected a number above {least:g}"
    for key, least, most in (("after", 1, rules.window), ("window", 1, MOST_ROWS), ("min_products", 0, 2**31)):
        if not least <= (value := getattr(rules, key)) <= most:
            yield key, f"{key} = {value}: expected a number from {least} to {most}"
    for name in rules.fields:
        if name not in FIELDS:
            yield "fields", f"fields: {name!r}: expected some of {', '.join(FIELDS)}"
    for name, share in rules.min_coverage.items():
        if name not in FIELDS:
            yield "min_coverage", f"min_coverage: {name!r}: expected one of {', '.join(FIELDS)}"
        elif not 0 <= share <= 1:
            yield "min_coverage", f"min_coverage: {name} = {share}: expected a share from 0 to 1, as 0.9"

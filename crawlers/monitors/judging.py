"""Whether a site's crawl is what it should be, beside the crawls before it and the limits of its TOML.

What a crawl is compared with is a median of the last ones, and a limit is never nearer to it than four times their
spread: neither moves much by a few odd crawls, and a site that is never the same does not cry wolf. A level that stays
becomes the normal one when most of the crawls in the window have it.
"""

from __future__ import annotations

import statistics
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from crawlers.monitors.result import Finding, SiteResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from crawlers.monitors.rules import Monitor, MonitorRules

    Judge = Callable[[SiteResult, Sequence[SiteResult], MonitorRules], Iterator[Finding]]

_SPREADS = 4.0
"""Of the crawls before, that are no alarm."""
_SIGMA = 1.4826
"""Times the median absolute deviation: the standard deviation, where values are spread normally."""
_LEAST_SHARE = 0.1
"""Of the median: fewer products are an alarm, however much the crawls before differed."""
_FEW_PRODUCTS, _FEW_FAILURES, _FEW_COMPARED = 3, 5, 10
"""Fewer may be by chance."""
_SHORT = 600.0
"""Seconds longer than before are no alarm."""


def judged(result: SiteResult, history: Sequence[SiteResult], rules: MonitorRules) -> SiteResult:
    """`result` with what is wrong with it; `history` is the site's, the newest first."""
    past = [row for row in history if row.scope == result.scope and row.crawl_id != result.crawl_id][: rules.window]
    if len(past) < rules.after:
        past = []
    findings = tuple(
        finding if monitor not in rules.warn else msgspec.structs.replace(finding, level="warning")
        for monitor, judge in JUDGES.items()
        if monitor not in rules.off
        for finding in judge(result, past, rules)
    )
    failing = {finding.monitor for finding in findings}
    before = history[0] if history else None
    return msgspec.structs.replace(
        result,
        findings=findings,
        resolved=tuple(name for name in (before.failed if before else ()) if name not in failing),
        last_products_at=result.ended_at if result.products else before.last_products_at if before else 0.0,
    )


def _typical(values: Iterable[float]) -> tuple[float, float]:
    """(median, spread) of what was; the spread as a standard deviation."""
    known = list(values)
    median = statistics.median(known)
    return median, _SIGMA * statistics.median(abs(value - median) for value in known)


def _products(now: SiteResult, past: Sequence[SiteResult], rules: MonitorRules) -> Iterator[Finding]:
    if now.products < rules.min_products:
        message = f"{now.products:,} products, at least {rules.min_products:,} are expected"
        yield Finding("products", "error", message, now.products, rules.min_products)
    median, spread = _typical(row.products for row in past) if past else (0.0, 0.0)
    if not median:
        return
    least = max(_LEAST_SHARE * median, min(rules.products_ratio * median, median - _SPREADS * spread))
    most = max(rules.products_rise * median, median + _SPREADS * spread)
    message = f"{now.products:,} products, {median:,.0f} before"
    if now.products < least:
        yield Finding("products", "error", message, now.products, round(least, 1))
    elif now.products > most:
        yield Finding("products", "warning", message, now.products, round(most, 1))


def _coverage(now: SiteResult, past: Sequence[SiteResult], rules: MonitorRules) -> Iterator[Finding]:
    for name, least in rules.min_coverage.items():
        if now.read and now.coverage[name] < least:
            yield _uncovered(name, now.coverage[name], least, f"at least {least:.0%} are expected")
    past = [row for row in past if row.read]
    for name in rules.fields if past and now.read else ():
        share = now.coverage[name]
        median, spread = _typical(row.coverage.get(name, share) for row in past)
        least = median - max(rules.coverage_drop, _SPREADS * spread)
        is_lost = not share and median * now.read >= _FEW_COMPARED  # also a field that few products ever had
        if (share < least and (median - share) * now.read >= _FEW_PRODUCTS) or is_lost:
            yield _uncovered(name, share, round(max(least, 0.0), 4), f"{median:.0%} before")


def _uncovered(name: str, share: float, least: float, why: str) -> Finding:
    return Finding("coverage", "error", f"{share:.0%} of products have {name}, {why}", share, least, name)


def _errors(now: SiteResult, past: Sequence[SiteResult], rules: MonitorRules) -> Iterator[Finding]:
    if now.failures < _FEW_FAILURES:
        return
    rate, most, why = now.error_rate, rules.max_error_rate, "at most {:.0%} are expected"
    if past:
        median, spread = _typical(row.error_rate for row in past)
        risen = median + max(rules.error_rise, _SPREADS * spread)
        if risen < most:
            most, why = risen, f"{median:.0%} before"
    if rate > most:
        message = f"{rate:.0%} of requests died or met walls, {why.format(most)}"
        yield Finding("errors", "error", message, round(rate, 4), round(most, 4))


def _prices(now: SiteResult, past: Sequence[SiteResult], rules: MonitorRules) -> Iterator[Finding]:
    yield from _zero_prices(now, past, rules)
    prices = now.prices
    if past and prices.compared >= _FEW_COMPARED:
        share = prices.changed / prices.compared
        if share > rules.max_price_changes:
            message = f"{share:.0%} of prices changed by more than {rules.price_change:.0%}"
            yield Finding("prices", "error", message, round(share, 4), rules.max_price_changes)
    medians = [row.prices.median for row in past if row.prices.currency == prices.currency and row.prices.median]
    if not medians or not prices.median or prices.known < _FEW_COMPARED:
        return
    median, spread = _typical(medians)
    least = min(median / (1 + rules.price_shift), median - _SPREADS * spread)
    most = max(median * (1 + rules.price_shift), median + _SPREADS * spread)
    if not least <= prices.median <= most:
        message = f"the median price is {prices.median:,.2f} {prices.currency}, {median:,.2f} before"
        yield Finding("prices", "error", message, prices.median, round(least if prices.median < least else most, 4))


def _zero_prices(now: SiteResult, past: Sequence[SiteResult], rules: MonitorRules) -> Iterator[Finding]:
    read = [row for row in past if row.read]
    usual = statistics.median(row.zero_prices / row.read for row in read) if read else 0.0
    share, most = now.zero_prices / max(1, now.read), usual + rules.max_zero_prices
    if now.zero_prices >= _FEW_PRODUCTS and share > most:
        yield Finding("prices", "error", f"{share:.0%} of products cost nothing", round(share, 4), round(most, 4))


def _currency(now: SiteResult, past: Sequence[SiteResult], rules: MonitorRules) -> Iterator[Finding]:
    prices = now.prices
    known = Counter(row.prices.currency for row in past if row.prices.currency)
    if not known or prices.known < _FEW_COMPARED:
        return
    [(usual, _)] = known.most_common(1)
    share = prices.recoined / max(1, prices.compared)
    if prices.currency != usual:
        message = f"most prices are in {prices.currency}, they were in {usual}"
        yield Finding("currency", "error", message, round(share, 4), rules.max_currency_changes)
    elif prices.recoined >= _FEW_PRODUCTS and share > rules.max_currency_changes:
        message = f"{share:.0%} of products are in another currency than before"
        yield Finding("currency", "error", message, round(share, 4), rules.max_currency_changes)


def _duration(now: SiteResult, past: Sequence[SiteResult], rules: MonitorRules) -> Iterator[Finding]:
    if not past:
        return
    median, spread = _typical(row.seconds for row in past)
    most = max(rules.duration_ratio * median, median + _SPREADS * spread, median + _SHORT)
    if now.seconds > most:
        message = f"the crawl lasted {now.seconds:,.0f} s, {median:,.0f} s before"
        yield Finding("duration", "warning", message, round(now.seconds), round(most))


JUDGES: dict[Monitor, Judge] = {
    "products": _products,
    "coverage": _coverage,
    "errors": _errors,
    "prices": _prices,
    "currency": _currency,
    "duration": _duration,
}

"""What was found, told in the log, the metrics and the stats of the worker that has judged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog

from crawlers import metrics
from crawlers.monitors.rules import MONITORS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crawlers.monitors.result import SiteResult

log = structlog.get_logger("seine.monitors")

NEVER, FAIL_AT = "never", ("never", "error", "warning")
_STATS = "monitors/"
_VALUES = {"": 0, "warning": 1, "error": 2}


def tell(result: SiteResult) -> None:
    """One event of the site, and one of each monitor that something is wrong with."""
    about = {"site": result.site, "crawl": result.crawl_id}
    for monitor, level in result.failed.items():
        found = [finding for finding in result.findings if finding.monitor == monitor]
        metrics.MONITOR_FAILURES.labels(result.site, monitor, level).inc()
        (log.error if level == "error" else log.warning)(
            "monitor failed", **about, monitor=monitor, why="; ".join(finding.message for finding in found)
        )
    log.info(
        "site judged",
        **about,
        status=result.status,
        products=result.products,
        read=result.read,
        requests=result.requests,
        error_rate=round(result.error_rate, 4),
        failed=sorted(result.failed),
        resolved=list(result.resolved),
    )


def count(stats: Any, results: Iterable[SiteResult]) -> None:
    """Leave it to the summary and the exit code."""
    for result in results:
        for monitor, level in result.failed.items():
            stats.inc_value(f"{_STATS}{level}/{result.site} {monitor}")


def failures_in(stats: dict[str, Any]) -> dict[str, list[str]]:
    """Level -> 'site monitor' of what has failed, as `count` has left it."""
    found: dict[str, list[str]] = {}
    for key in stats:
        if key.startswith(_STATS):
            level, _, what = key.removeprefix(_STATS).partition("/")
            found.setdefault(level, []).append(what)
    return found


def is_failure(failures: dict[str, list[str]], level: str) -> bool:
    """Whether MONITORS_FAIL, which is `level`, makes them a failure of the crawl."""
    return level != NEVER and ("error" in failures or (level == "warning" and "warning" in failures))


def publish(results: Iterable[SiteResult]) -> None:
    """Set the gauges of sites to their last results, as store.read_results has them: for who exports the fleet's state.

    What a site or a monitor has no result of any more is gone.
    """
    for gauge in (metrics.MONITOR_FAILED, metrics.SITE_PRODUCTS, metrics.SITE_FIELD_COVERAGE, metrics.SITE_ERROR_RATE):
        gauge.clear()
    metrics.SITE_LAST_PRODUCTS.clear()
    metrics.SITE_JUDGED.clear()
    for result in results:
        site = result.site
        metrics.SITE_PRODUCTS.labels(site).set(result.products)
        metrics.SITE_ERROR_RATE.labels(site).set(result.error_rate)
        metrics.SITE_JUDGED.labels(site).set(result.ended_at)
        metrics.SITE_LAST_PRODUCTS.labels(site).set(result.last_products_at)
        for name, share in result.coverage.items():
            metrics.SITE_FIELD_COVERAGE.labels(site, name).set(share)
        for monitor in MONITORS:
            metrics.MONITOR_FAILED.labels(site, monitor).set(_VALUES[result.failed.get(monitor, "")])

"""What the metrics learn of every request that ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crawlers import metrics
from crawlers.domains import domain_of
from crawlers.refusals import answer_of
from crawlers.status.top_domains import TopDomains

if TYPE_CHECKING:
    from scrapy import Request

DOMAINS = TopDomains()
metrics.REGISTRY.register(DOMAINS)
OTHER_SITES = "other"
"""What sites are called whose names are any domain's."""
_PHASES = {
    f"{name}_ms": metrics.PHASE_SECONDS.labels(name)
    for name in ("frontier", "queue", "connect", "first_byte", "download", "callback", "delivery")
}


def measure(request: Request, outcome: str, result: Any, site: str | None, timings: dict[str, float | None]) -> None:
    """Count an attempt at `request` whose `result` came to `outcome`; `timings` are milliseconds, as timings_of has
    them.
    """
    size = 0
    if (answer := answer_of(result)) is not None:
        size = len(answer.body)
        metrics.RESPONSES.labels(str(answer.status)).inc()
        metrics.RESPONSE_BYTES.inc(size)
    for name, milliseconds in timings.items():
        if milliseconds is not None:
            _PHASES[name].observe(milliseconds / 1000)
    metrics.SITE_REQUESTS.labels(site or OTHER_SITES, outcome).inc()
    DOMAINS.note(domain_of(request.url), outcome, (timings.get("first_byte_ms") or 0.0) / 1000, size)


def measure_item(item: Any, fate: str, known: Any) -> None:
    """Count an item whose fate is known. Of sites, those that are `known` are told apart: others are any domain."""
    name = getattr(item, "site", None)
    site = name if name in known else OTHER_SITES
    metrics.SITE_ITEMS.labels(site, fate).inc()
    if fate in _GOOD:
        metrics.SITE_LAST_PRODUCT.labels(site).set_to_current_time()
        if change := getattr(item, "change", None):
            metrics.SITE_CHANGES.labels(site, change).inc()


_GOOD = ("acknowledged", "buffered", "passed", "unchanged")

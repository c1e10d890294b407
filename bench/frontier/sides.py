"""The sides of the comparison. They differ in the scheduler and what belongs to it, and in nothing else."""

from __future__ import annotations

from typing import Any

from scrapy.settings import default_settings
from scrapy.utils.project import get_project_settings

OURS, REDIS, PLAIN, NOTHING = "Seine", "scrapy-redis", "plain Scrapy", "nothing"
"""NOTHING is a list in memory with a set of URLs: what the bench itself costs."""

COMMON: dict[str, Any] = {
    "TWISTED_REACTOR": "twisted.internet.asyncioreactor.AsyncioSelectorReactor",
    "ASYNCIO_EVENT_LOOP": "uvloop.Loop",
    "DOWNLOAD_HANDLERS": {"http": "bench.frontier.site.InstantHandler"},
    "CONCURRENT_REQUESTS": 32,
    "CONCURRENT_REQUESTS_PER_DOMAIN": 16,
    "DOWNLOAD_DELAY": 0,
    "LOG_LEVEL": "WARNING",
    "LOG_VERSIONS": [],
    "TELNETCONSOLE_ENABLED": False,
    "REMOTE_CONTROL_ENABLED": False,
    "MEMUSAGE_ENABLED": False,
}


def settings_of(side: str, redis_url: str) -> dict[str, Any]:
    """Scrapy's settings for a crawl of `side`; all but COMMON are Scrapy's defaults, or the side's own."""
    if side == REDIS:
        return {
            **COMMON,
            "SCHEDULER": "scrapy_redis.scheduler.Scheduler",
            "DUPEFILTER_CLASS": "scrapy_redis.dupefilter.RFPDupeFilter",
            "SCHEDULER_PERSIST": True,
            "REDIS_URL": redis_url,
        }
    if side == OURS:
        return {**_frontier(), **COMMON, "REDIS_URL": redis_url}
    if side == NOTHING:
        return {**COMMON, "SCHEDULER": "bench.frontier.spiders.NoScheduler"}
    return COMMON


def _frontier() -> dict[str, Any]:
    """What settings.py adds to Scrapy's settings, and the two components that tell what became of requests."""
    project = get_project_settings()
    assert project.get("FRONTIER_SETTINGS"), "run it in the project's folder"
    own = [name for name in project if name.isupper() and not hasattr(default_settings, name)]
    return {
        **{name: project[name] for name in (*own, "REQUEST_FINGERPRINTER_CLASS")},
        **project.getdict("FRONTIER_SETTINGS"),
        "EXTENSIONS": {"crawlers.extensions.outcomes.RequestOutcomes": 100},
        "SPIDER_MIDDLEWARES": {"middlewares.accounting.AccountingMiddleware": 1000},
    }

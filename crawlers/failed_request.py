"""A request that ended dead, as its dead letter tells it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import msgpack

from crawlers.domains import domain_of, is_web_url

if TYPE_CHECKING:
    from crawlers.frontier.leases import Lease

DOWNLOAD, SPIDER, FRONTIER = "download", "spider", "frontier"
"""Stages: what a request died of came from its server or the way there, from its callback, or from the queue."""
_OF_THE_FRONTIER = {
    "worker lost": "lost with its worker, again and again",
    "domain down": "its domain does not answer, and the crawl gave it up",
    "corrupt request": "what is stored of it is no request",
    "refused by Redis": "a script of the frontier refused its end",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedRequest:
    """One death of a request."""

    url: str
    stage: str
    reason: str
    """As the frontier counts it: an HTTP status, an exception's class, `worker lost`."""
    why: str
    """The same in words."""
    data: bytes
    """As the frontier stores it; b"" of one that cannot be stored."""
    id: bytes
    """The frontier's; of one that no frontier knows, the first bytes of its fingerprint."""
    budget: str
    """What it is charged to, which names its shard."""
    site: str
    crawl: str
    spider: str
    attempt: int
    """How many attempts there were, the last included."""
    death: int = 1
    """How many-th of its deaths it is."""
    screenshot: bytes = b""
    """PNG of the wall that it died of; b"" where there is none."""
    traceparent: str = ""
    """Of one that died in the queue, where there is tracing; else its letter has the one of what is worked on."""

    @classmethod
    def of_lease(cls, lease: Lease, stage: str, reason: str, why: str, **about: Any) -> Self:
        """Of one that a worker worked on; `about`: url, site, crawl and spider."""
        return cls(
            stage=stage,
            reason=reason,
            why=why,
            data=lease.data,
            id=lease.id,
            budget=lease.domain,
            attempt=lease.attempts + 1,
            death=lease.revived + 1,
            **about,
        )

    @classmethod
    def of_row(cls, row: list[Any], crawl: str, spider: str) -> Self:
        """Of a row of lua/letters.lua."""
        id_, budget, data, _, reasons, death = row
        reason = reasons[-1].decode()
        url, site = _told(data)
        return cls(
            url=url,
            stage=FRONTIER if reason in _OF_THE_FRONTIER else DOWNLOAD,
            reason=reason,
            why=_OF_THE_FRONTIER.get(reason, reason),
            data=data,
            id=id_,
            budget=budget.decode(),
            site=site,
            crawl=crawl,
            spider=spider,
            attempt=len(reasons),
            death=death,
        )

    @property
    def domain(self) -> str:
        """Of its URL; where that is unknown, its budget."""
        return domain_of(self.url) if is_web_url(self.url) else self.budget


def _told(data: bytes) -> tuple[str, str]:
    """(URL, site) of a stored request, '' where it tells none: it may be corrupt."""
    try:
        url, *rest = msgpack.unpackb(data)
        site = rest[0].get("meta", {}).get("site", "") if rest else ""
    except Exception:  # whatever msgpack makes of it, or Python of that
        return "", ""
    return (url if isinstance(url, str) else ""), (site if isinstance(site, str) else "")

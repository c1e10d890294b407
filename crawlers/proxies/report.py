"""What the fleet knows of its proxies, for operators: how each does at each domain, what tiers spent."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any

from crawlers.frontier.paging import escaped, pages
from crawlers.proxies.sharing import budget_key, health_key, standings_of, today

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from crawlers.frontier.fleet import Fleet
    from crawlers.proxies.health import Standing
    from crawlers.proxies.listing import Proxy, Tier

_AT_ONCE = 100
"""Domains that are asked for in one call: each has a row for every proxy."""


@dataclass(frozen=True, slots=True)
class ProxyReport:
    """A proxy's health at a domain. Counts are of late: older ones weigh half, again and again."""

    label: str
    tier: str
    """'' of one that is not configured here, or no longer."""
    domain: str
    ok: float
    failed: float
    banned: float
    latency: float
    """Seconds, in the mean; 0 where it has answered nothing."""
    failures: int
    """In a row."""
    cools_for: float
    """Seconds until it is taken there again; 0 where it may be."""

    @property
    def success(self) -> float | None:
        """The share of what succeeded."""
        tried = self.ok + self.failed + self.banned
        return self.ok / tried if tried else None

    @property
    def trouble(self) -> tuple[float, ...]:
        """Sorts what an operator wants to see first to the end."""
        return self.cools_for, self.banned, 1 - (self.success or 0), self.latency


@dataclass(frozen=True, slots=True)
class TierReport:
    """What came through a tier's proxies today (UTC), and what may."""

    tier: str
    proxies: int
    """How many are configured."""
    spent: int
    """Bytes."""
    budget: int
    """Bytes; 0 is without limit."""

    @property
    def is_spent(self) -> bool:
        """Whether it is closed until tomorrow."""
        return bool(self.budget) and self.spent >= self.budget


async def health_at(fleet: Fleet, domain: str, tiers: Mapping[str, str]) -> list[ProxyReport]:
    """Of each proxy that has been tried at `domain`; `tiers` by label."""
    number = fleet.keys.shard_of(domain)
    flat = await fleet.connections[number].one("HGETALL", health_key(fleet.keys.shard(number), domain))
    return _reports(domain, standings_of(await fleet.now(), flat), tiers)


async def most_trouble(fleet: Fleet, most: int, tiers: Mapping[str, str]) -> tuple[list[ProxyReport], int]:
    """The `most` with the most trouble, the worst first; and how many there are."""
    top: list[tuple[Any, ...]] = []
    known = 0
    async for one in _all(fleet, tiers):
        known += 1
        heapq.heappush(top, (one.trouble, one.label, one.domain, one))
        if len(top) > most:
            heapq.heappop(top)
    return [one for *_, one in sorted(top, key=lambda entry: entry[:3], reverse=True)], known


async def budgets(fleet: Fleet, tiers: Sequence[Tier], proxies: Sequence[Proxy]) -> list[TierReport]:
    """Of each of `tiers`, in their order."""
    flat = await fleet.connections[0].one("HGETALL", budget_key(fleet.keys.shard(0), today()))
    spent = {name.decode(): int(size) for name, size in zip(flat[::2], flat[1::2], strict=True)}
    counts = {tier.name: sum(proxy.tier == tier.name for proxy in proxies) for tier in tiers}
    return [TierReport(tier.name, counts[tier.name], spent.get(tier.name, 0), tier.budget) for tier in tiers]


async def _all(fleet: Fleet, tiers: Mapping[str, str]) -> AsyncIterator[ProxyReport]:
    for number, connection in fleet.shards():
        prefix = health_key(fleet.keys.shard(number), "")
        now = await fleet.now()
        async for page in pages(connection, "SCAN", match=escaped(prefix) + b"*", count=_AT_ONCE):
            for key, flat in zip(page, await connection.call(*(("HGETALL", key) for key in page)), strict=True):
                for one in _reports(key.decode()[len(prefix) :], standings_of(now, flat), tiers):
                    yield one


def _reports(domain: str, standings: Mapping[str, Standing], tiers: Mapping[str, str]) -> list[ProxyReport]:
    now = monotonic()
    return [
        ProxyReport(
            label,
            tiers.get(label, ""),
            domain,
            ok=one.ok,
            failed=one.failed - one.banned,
            banned=one.banned,
            latency=one.latency,
            failures=one.row,
            cools_for=round(max(0.0, one.until - now), 1),
        )
        for label, one in sorted(standings.items())
    ]

"""The domains of a crawl by the length of their queues."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgpack

from crawlers.frontier.paging import pages, pairs
from crawlers.frontier.politeness import Politeness, politeness_of

if TYPE_CHECKING:
    from crawlers.frontier.fleet import Fleet

_DOMAINS_LOOKED_AT = 2000
_LEASES_LOOKED_AT = 10_000
_LEASED_DOMAIN = 2
"""Of a lease row."""


@dataclass(frozen=True, slots=True)
class DomainStatus:
    """One domain of the crawl."""

    queued: int
    leased: int
    """By this crawl; in_flight of its politeness is every crawl's."""
    politeness: Politeness


async def longest_queues(fleet: Fleet, crawl: str, others: list[set[str]], most: int) -> list[DomainStatus]:
    """The domains with the longest queues, among those that wait and those that somebody has leases of: a parked domain
    is one of the latter. Where there are very many, among the first thousands that Redis comes by.
    """
    found: list[tuple[int, int, str]] = []
    for number, connection in fleet.shards():
        root = fleet.keys.crawl(number, crawl)
        leased = {one: await _leased(fleet, number, one) for one in {root} | others[number]}
        names = set().union(*leased.values())
        async for page in pages(connection, "ZSCAN", f"{root}:ready"):
            names |= {name.decode() for name, _ in pairs(page)}
            if len(names) >= _DOMAINS_LOOKED_AT:
                break
        listed = list(names)
        queued = await connection.call(*(("ZCARD", f"{root}:queue:{name}") for name in listed))
        found += [(n, leased[root][name], name) for n, name in zip(queued, listed, strict=True)]
    top = sorted((one for one in found if one[0] or one[1]), reverse=True)[:most]
    known = await politeness_of(fleet, (name for _, _, name in top))
    return [DomainStatus(queued, leases, one) for (queued, leases, _), one in zip(top, known, strict=True)]


async def _leased(fleet: Fleet, number: int, root: str) -> Counter[str]:
    """Leases by domain."""
    leases: Counter[str] = Counter()
    async for page in pages(fleet.connections[number], "HSCAN", f"{root}:leases", count=500):
        leases.update(msgpack.unpackb(row, raw=True)[_LEASED_DOMAIN].decode() for _, row in pairs(page))
        if leases.total() >= _LEASES_LOOKED_AT:
            break
    return leases

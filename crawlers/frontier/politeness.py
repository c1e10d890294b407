"""What the fleet knows of a domain: how fast it may be asked, what it is asked now, and how it is."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from crawlers.frontier.paging import escaped, pages
from crawlers.frontier.scripts import run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from crawlers.frontier.fleet import Fleet
    from crawlers.frontier.options import FrontierOptions

_FIELDS = ("d", "c", "r", "x", "f", "u", "t", "a", "q", "v", "n", "e", "l")
"""Of the hash that lua/common.lua describes."""
_CIRCUITS = {"": "closed", "open": "open", "half": "half-open"}


@dataclass(frozen=True, slots=True)
class Politeness:
    """A domain's, at one moment. Times are in seconds."""

    domain: str
    in_flight: int
    """Requests of all crawls that take one of its places."""
    unstarted: int
    """Requests that were leased and wait for their start."""
    concurrency: int
    delay: float
    """Between two requests, slow-down and Crawl-delay included."""
    crawl_delay: float
    slow_down: float
    """1 is none."""
    circuit: str
    """closed, open or half-open."""
    opens_in: float
    """Until the next request may start, by its delay, a Retry-After or an open circuit."""
    failures: int
    """In a row."""
    openings: int
    """Of its circuit, in a row."""
    latency: float

    @classmethod
    def of(cls, domain: str, values: list[bytes | None], now: int, options: FrontierOptions) -> Self:
        """From the values of _FIELDS."""
        told = {name: value.decode() for name, value in zip(_FIELDS, values, strict=True) if value is not None}

        def number(name: str, default: float = 0.0) -> float:
            return float(told.get(name, default))

        circuit = _CIRCUITS[told.get("q", "")]
        free_at = max(number("t"), number("a"), number("v") if circuit == "open" else 0.0)
        return cls(
            domain,
            in_flight=int(number("f")),
            unstarted=int(number("u")),
            concurrency=int(number("c", options.concurrency)),
            delay=max(number("d", options.delay), number("r")) * number("x", 1.0) / 1000,
            crawl_delay=number("r") / 1000,
            slow_down=round(number("x", 1.0), 2),
            circuit=circuit,
            opens_in=max(0.0, free_at - now) / 1000,
            failures=int(number("e")),
            openings=int(number("n")),
            latency=number("l") / 1000,
        )

    @property
    def trouble(self) -> tuple[bool, float, int]:
        """Sorts the domains that an operator wants to see first to the end."""
        return self.circuit != "closed", self.slow_down, self.in_flight


@dataclass(slots=True)
class Survey:
    """All domains that the fleet knows."""

    top: list[Politeness] = field(default_factory=list)
    """Those with the most trouble, then those with the most in flight."""
    known: int = 0
    circuits: Counter[str] = field(default_factory=Counter)
    """Domains by the state of their circuit."""
    slowed: int = 0
    """Domains with a slow-down."""
    in_flight: int = 0


async def politeness_of(fleet: Fleet, domains: Iterable[str]) -> list[Politeness]:
    """The politeness of each of `domains`, known or not."""
    now, found = await fleet.now(), []
    for domain in domains:
        number = fleet.keys.shard_of(domain)
        values = await fleet.connections[number].one("HMGET", _key(fleet, number, domain), *_FIELDS)
        found.append(Politeness.of(domain, values, now, fleet.options))
    return found


async def survey(fleet: Fleet, most: int) -> Survey:
    """What there is to say of all domains, and the `most` of them that an operator wants to see first."""
    found = Survey()
    top: list[tuple[Any, ...]] = []
    async for one in _all(fleet):
        found.known += 1
        found.circuits[one.circuit] += 1
        found.slowed += one.slow_down > 1
        found.in_flight += one.in_flight
        heapq.heappush(top, (one.trouble, one.domain, one))
        if len(top) > most:
            heapq.heappop(top)
    found.top = [one for _, _, one in sorted(top, reverse=True)]
    return found


async def is_known(fleet: Fleet, domain: str) -> bool:
    """Whether the fleet has asked `domain` in the last days, or has limits for it."""
    number = fleet.keys.shard_of(domain)
    return bool(await fleet.connections[number].one("EXISTS", _key(fleet, number, domain)))


async def forget(fleet: Fleet, domain: str) -> None:
    """Its circuit closes, and what was learned of its speed is forgotten; its limits and requests in flight stay."""
    number = fleet.keys.shard_of(domain)
    for crawl in await fleet.open_crawls() or [""]:
        root = fleet.keys.crawl(number, crawl)
        await fleet.connections[number].one(*run("forget", fleet.keys.shard(number), root, domain))


async def _all(fleet: Fleet) -> AsyncIterator[Politeness]:
    for number, connection in fleet.shards():
        prefix = _key(fleet, number, "")
        now = await fleet.now()
        async for page in pages(connection, "SCAN", match=escaped(prefix) + b"*"):
            values = await connection.call(*(("HMGET", key, *_FIELDS) for key in page))
            for key, fields in zip(page, values, strict=True):
                yield Politeness.of(key.decode()[len(prefix) :], fields, now, fleet.options)


def _key(fleet: Fleet, number: int, domain: str) -> str:
    return f"{fleet.keys.shard(number)}:domain:{domain}"

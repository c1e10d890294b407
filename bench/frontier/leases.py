"""Part `leases`: what a call for leases costs with few domains and with very many."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any

import msgpack

from bench.frontier.bench import Bench
from bench.frontier.fleet import CONNECTION, KEYS, QUICK, enqueue, new_request, worker
from bench.frontier.server import Server
from bench.frontier.table import Budget, Row, beside, in_turns
from crawlers.frontier.connection import Connection, Servers
from crawlers.frontier.frontier import Frontier
from crawlers.frontier.options import FrontierOptions

_WANT = 64
"""Leases of a call: twice 32 requests at once."""
_CALLS = 2
"""Of each crawl in a round."""
_TIMES = 8
"""Rounds are short here, and that many times as many."""
_REQUEST = b"x" * 130
_FLAT = Budget(1.2)
_OPEN = replace(QUICK, per_domain=8, lease_seconds=3600.0)
"""No delay: a visit takes up to 8 requests of a domain."""
_DELAYED = replace(_OPEN, delay=1000)
"""One second between requests: a visit takes one."""


@dataclass(slots=True)
class Crowd:
    """A crawl with a number of domains, all with requests that wait."""

    domains: int
    options: FrontierOptions
    frontier: Frontier
    server_time: list[float] = field(default_factory=list)
    """Microseconds per leased request, of each round."""
    round_trip: list[float] = field(default_factory=list)

    async def fill(self, requests: int) -> None:
        names = [f"shop{n}.of{self.domains}.bench" for n in range(self.domains)]
        await enqueue(self.frontier, (new_request(n, names[n % self.domains], _REQUEST) for n in range(requests)))

    async def call(self, server: Server, connection: Connection) -> None:
        """A round. The command is the session's own; nothing is settled, so that nothing else is measured."""
        session: Any = self.frontier.sessions[0]
        leased, spent = 0, 0.0
        _, before = server.in_scripts
        for _ in range(_CALLS):
            began = perf_counter()
            reply = await connection.one(*session._lease_command(secrets.token_bytes(8), _WANT))
            spent += perf_counter() - began
            leased += len(msgpack.unpackb(reply, raw=True)[4])
        if leased != _CALLS * _WANT:
            raise SystemExit(f"{leased} leases of {_CALLS * _WANT} with {self.domains} domains")
        _, after = server.in_scripts
        self.server_time.append(1e6 * (after - before) / leased)
        self.round_trip.append(1e6 * spent / leased)


def leases(bench: Bench) -> list[Row]:
    """Per leased request: time in the server, and of the whole round trip."""
    sizes = (10, 1000, 10_000, 100_000, *((1_000_000,) if bench.full else ()))
    free = asyncio.run(_measured(bench, _OPEN, sizes))
    delayed = asyncio.run(_measured(bench, _DELAYED, tuple(size for size in sizes if size >= 10_000)))
    return [
        *_rows("server's time per lease, no delay", free, lambda crowd: crowd.server_time, _FLAT),
        *_rows("server's time per lease, a delay", delayed, lambda crowd: crowd.server_time, _FLAT),
        *_rows("round trip per lease, no delay", free, lambda crowd: crowd.round_trip, None),
    ]


def _rows(what: str, crowds: list[Crowd], figure: Any, budget: Budget | None) -> list[Row]:
    few, *many = crowds
    name = f"{few.domains:,} domains"
    named = ((f"{what}, {crowd.domains:,} domains", figure(crowd)) for crowd in many)
    return [beside(text, figures, name, figure(few), "µs", budget) for text, figures in named]


async def _measured(bench: Bench, options: FrontierOptions, sizes: tuple[int, ...]) -> list[Crowd]:
    bench.empty()
    rounds = _TIMES * bench.rounds
    async with AsyncExitStack() as stack:
        crowds = []
        for size in sizes:
            frontier = await stack.enter_async_context(worker(bench.server, options, f"{size}", leases=False))
            crowds.append(Crowd(size, options, frontier))
            bench.say(f"leases: {size:,} domains are filled")
            per_domain = 2 if options.delay else options.per_domain
            await crowds[-1].fill(max(per_domain * size, (rounds + 1) * _CALLS * _WANT + size))
        servers = Servers(CONNECTION, bench.server.url, "", "", cluster=False)
        connection = await servers.connect(KEYS.shard(0))
        for number in range(rounds):
            for name in in_turns([str(crowd.domains) for crowd in crowds], number):
                await next(crowd for crowd in crowds if str(crowd.domains) == name).call(bench.server, connection)
        await connection.close()
        return crowds

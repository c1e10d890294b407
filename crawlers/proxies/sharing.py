"""The fleet's knowledge of proxies: workers tell Redis once a second what they saw, and hear what the others did there.

Of domains that a worker uses and has seen nothing new at, it asks for a few each time, so that a talk is no longer with
many domains than with few. Of one that is new to it, it asks at once.
lua/proxies.lua has the layout of a domain's hash. Of the budgets, shard 0 has S:spent:<day>, a hash of bytes by tier.
Where Redis is away a worker goes by what it has seen itself, and tells it later.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from contextlib import suppress
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING, Any

import structlog

from crawlers.frontier import scripts
from crawlers.frontier.connection import AWAY, failed, told
from crawlers.proxies.health import Results, Standing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from crawlers.frontier.connection import Connection, Servers
    from crawlers.frontier.keys import Keys
    from crawlers.proxies.health import Health

log = structlog.get_logger("seine.proxy")

BEAT = 1.0
"""Seconds between two talks with Redis."""
_IN_USE = 60.0
"""Seconds that a domain counts as in use: what others see there is asked for."""
_AT_ONCE = 200
"""Domains that are asked for in one talk, beside those that there is something to tell of."""
_TOLD_AT_ONCE = 1000
"""Domains that are told of in one talk; more wait for the next one, as after an outage."""
_PATIENCE = 0.5
"""Seconds that a new domain's first request waits for an answer."""
_STRANGERS = 100
"""Proxies that this worker's list lacks and a domain's hash may have nevertheless; or as many as the list has."""
_REMEMBERED = 604_800
_DAY = 86_400


class Sharing:
    """Keeps a worker's Health and the fleet's the same. `tell_of` is called with each domain that there is news of."""

    def __init__(self, health: Health, servers: Servers, keys: Keys, tell_of: Callable[[str], None]):
        self._tell_of = tell_of
        self._health = health
        self._servers = servers
        self._keys = keys
        self._untold: dict[str, dict[str, Results]] = {}
        self._unspent: Counter[str] = Counter()
        self._used_at: dict[str, float] = {}
        self._turns: deque[str] = deque()
        """The domains in use that have not been asked for since all of them were."""
        self._new: dict[str, None] = {}
        """Domains that the next task asks for, which waits for its turn."""
        self._next: asyncio.Task[None] | None = None
        self._asking: set[asyncio.Task[None]] = set()
        self._is_away = False
        self._connections: dict[int, Connection] = {}
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin to talk."""
        self._task = asyncio.ensure_future(self._talk())

    def knows(self, domain: str) -> bool:
        """Whether what the fleet knows of `domain` is heard of already."""
        return domain in self._used_at

    async def hear_of(self, domain: str) -> None:
        """Ask for it now, together with the others that are new, and wait for the answer for a moment at most."""
        if not self._is_away:
            if self._next is None:
                self._next = asyncio.ensure_future(self._ask())
                self._asking.add(self._next)
                self._next.add_done_callback(self._asking.discard)
            self._new[domain] = None
            await asyncio.wait([self._next], timeout=_PATIENCE)
        self.uses(domain)

    async def _ask(self) -> None:
        async with self._lock:
            domains, self._new, self._next = self._new, {}, None
            await self._try_to_exchange(domains)

    def uses(self, domain: str) -> None:
        """Somebody wants to know of `domain`."""
        self._used_at[domain] = monotonic()

    def note(self, domain: str, label: str, results: Results) -> None:
        """To be told."""
        labels = self._untold.setdefault(domain, {})
        labels[label] = labels.get(label, Results()).plus(results)

    def spend(self, tier: str, size: int) -> None:
        """To be told."""
        self._unspent[tier] += size

    async def close(self) -> None:
        """Tell what is left, and drop the connections."""
        async with self._lock:  # nobody is in the middle of a talk
            for task in (self._task, *self._asking):
                if task is not None:
                    task.cancel()
            with suppress(*AWAY):
                await self._exchange(list(self._untold))
        for connection in self._connections.values():
            await connection.close()
        self._connections.clear()

    async def _talk(self) -> None:
        while True:
            await asyncio.sleep(BEAT)
            async with self._lock:
                await self._try_to_exchange(self._due())

    def _due(self) -> list[str]:
        """The domains to talk of now: those that there is news of, and some of those in use, all of them in turn."""
        if not self._turns:
            now = monotonic()
            self._used_at = {domain: at for domain, at in self._used_at.items() if now - at < _IN_USE}
            self._turns.extend(self._used_at)
        in_turn = [self._turns.popleft() for _ in range(min(_AT_ONCE, len(self._turns)))]
        return list(dict.fromkeys((*islice(self._untold, _TOLD_AT_ONCE), *in_turn)))

    async def _try_to_exchange(self, domains: Iterable[str]) -> None:
        try:
            await self._exchange(domains)
        except AWAY as error:
            self._is_away = True
            log.warning("proxies' health is not shared: Redis cannot be asked", error=told(error))
        else:
            self._is_away = False

    async def _exchange(self, domains: Iterable[str]) -> None:
        shards: dict[int, list[str]] = {0: []}
        for domain in domains:
            shards.setdefault(self._keys.shard_of(domain), []).append(domain)
        for shard, asked in shards.items():
            await self._exchange_with(shard, asked)

    async def _exchange_with(self, shard: int, domains: list[str]) -> None:
        sent = {domain: self._untold.pop(domain, {}) for domain in domains}
        spent, self._unspent = (self._unspent, Counter[str]()) if shard == 0 else (Counter[str](), self._unspent)
        root, day = self._keys.shard(shard), today()
        commands = [self._of_domain(root, domain, labels) for domain, labels in sent.items()]
        if shard == 0:
            commands += self._of_budgets(budget_key(root, day), spent)
        try:
            replies = await self._call(shard, commands)
        except AWAY:
            for domain, labels in sent.items():
                for label, results in labels.items():
                    self.note(domain, label, results)
            self._unspent.update(spent)
            raise
        strangers: list[scripts.Command] = []
        for domain, (now, flat) in zip(sent, replies, strict=False):
            found = standings_of(now, flat)
            if labels_to_drop := self._strangers(found):
                strangers.append(("HDEL", health_key(root, domain), *labels_to_drop))
            self._health.replace(domain, found)
            for label, results in self._untold.get(domain, {}).items():  # seen while Redis was asked
                self._health.note(domain, label, results)
            self._tell_of(domain)
        if shard == 0:
            totals = {tier.decode(): int(size) for tier, size in _pairs(replies[-1])}
            self._health.replace_spent(Counter(totals) + self._unspent, day)
        if strangers:
            await self._call(shard, strangers)

    def _strangers(self, found: dict[str, Standing]) -> list[str]:
        """The proxies of a domain's hash to forget, where a list that changes all the time would fill it."""
        labels, now = self._health.labels, monotonic()
        unknown = [label for label, standing in found.items() if label not in labels and standing.until <= now]
        return unknown if labels and len(unknown) > max(_STRANGERS, len(labels)) else []

    def _of_domain(self, root: str, domain: str, labels: dict[str, Results]) -> scripts.Command:
        rules = self._health.rules
        waits = (round(1000 * seconds) for seconds in (rules.after_failures, rules.after_ban, rules.longest))
        seen: list[Any] = []
        for label, results in labels.items():
            seen += [label, results.ok, results.failed, results.banned, round(1000 * results.seconds)]
        return scripts.run("proxies", root, root, domain, _REMEMBERED, rules.failures, *waits, *seen)

    def _of_budgets(self, key: str, spent: Counter[str]) -> list[scripts.Command]:
        more: list[scripts.Command] = [("HINCRBY", key, tier, size) for tier, size in spent.items()]
        return [*more, ("EXPIRE", key, 2 * _DAY), ("HGETALL", key)]

    async def _call(self, shard: int, commands: list[scripts.Command]) -> list[Any]:
        try:
            if shard not in self._connections:
                self._connections[shard] = await self._servers.connect(self._keys.shard(shard))
            replies = await self._connections[shard].call(*commands)
            if (error := failed(replies)) is not None:
                raise error
        except AWAY:
            if (connection := self._connections.pop(shard, None)) is not None:
                await connection.close()
            raise
        return replies


def today() -> int:
    """Days since 1970, in UTC: a budget's day."""
    return int(time.time()) // _DAY


def until_tomorrow() -> float:
    """Seconds that today has left."""
    return _DAY - time.time() % _DAY


def health_key(root: str, domain: str) -> str:
    """Of the hash that lua/proxies.lua describes."""
    return f"{root}:proxies:{domain}"


def budget_key(root: str, day: int) -> str:
    """Of the bytes by tier, in shard 0."""
    return f"{root}:spent:{day}"


def standings_of(now: int, flat: list[bytes]) -> dict[str, Standing]:
    """By label, of a domain's hash as Redis has it; `now` is Redis's clock in milliseconds."""
    here, found = monotonic(), {}
    for label, text in _pairs(flat):
        row, level, until, ok, failures, latency, bans = map(float, text.split())
        ends = here + max(0.0, until - now) / 1000
        found[label.decode()] = Standing(int(row), int(level), ends, ok, failures, latency / 1000, bans)
    return found


def _pairs(flat: list[bytes]) -> Iterable[tuple[bytes, bytes]]:
    return zip(flat[::2], flat[1::2], strict=True)

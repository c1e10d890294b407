"""Crawls: one pass over the seeds each, known to every worker by its definition or its name."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import msgpack

from crawlers.exceptions import UserError
from crawlers.frontier.scripts import run
from crawlers.lineage import fresh_crawl_id

if TYPE_CHECKING:
    from crawlers.frontier.connection import Connection
    from crawlers.frontier.keys import Keys

OPEN_STATES = ("running", "paused", "draining", "cancelled")
"""A crawl is open until it is complete; a cancelled one still takes its requests off."""
_TERMS = ("delivered", "expanded", "redirected", "empty", "filtered", "dead", "pending")


class Definition(NamedTuple):
    """What a crawl is about. Workers whose definitions are equal join the same crawl."""

    sites: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    follow: bool = True
    source: str = ""
    """Where its URLs come from when they are pushed: a list's key, or an import's."""

    @property
    def text(self) -> str:
        """As JSON; a long list of URLs by its digest."""
        urls: Any = list(self.urls)
        if len(urls) > 100:
            digest = hashlib.sha256("\n".join(urls).encode()).hexdigest()
            urls = {"count": len(urls), "sha256": digest}
        fields = {"sites": list(self.sites), "urls": urls, "follow": self.follow, "source": self.source}
        return json.dumps({name: value for name, value in fields.items() if value or name == "follow"}, sort_keys=True)

    @property
    def digest(self) -> str:
        """Names the definition."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]


@dataclass
class Totals:
    """The equation of a crawl, summed over its shards: exact in each, and together when nothing changes."""

    state: str = "gone"
    counts: dict[str, int] = field(default_factory=dict)
    leased: int = 0
    delayed: int = 0
    workers: int = 0
    versions: tuple[int, ...] = ()

    def term(self, name: str) -> int:
        """One term of the equation, 0 where nothing was counted."""
        return self.counts.get(name, 0)

    @property
    def known(self) -> int:
        """Seeded and discovered: the left side."""
        return self.term("seeded") + self.term("discovered")

    @property
    def open(self) -> int:
        """Requests that have no outcome yet."""
        return self.term("pending") + self.leased + self.delayed

    @property
    def right_side(self) -> dict[str, int]:
        """The terms of the right side."""
        return {**{name: self.term(name) for name in _TERMS}, "delayed": self.delayed, "leased": self.leased}

    @property
    def accounted(self) -> int:
        """The right side's sum."""
        return sum(self.right_side.values())

    @property
    def balanced(self) -> bool:
        """Whether everything adds up."""
        return self.known == self.accounted

    def by_reason(self, term: str) -> dict[str, int]:
        """The reasons of `filtered` or `dead`."""
        return {name.partition(":")[2]: n for name, n in self.counts.items() if name.startswith(f"{term}:") and n}


class Crawls:
    """The registry of a spider's crawls, over connections to its shards (the first is shard 0's)."""

    def __init__(self, keys: Keys, connections: list[Connection]):
        self.keys = keys
        self._connections = connections
        self._registry = connections[0]

    async def open(self, definition: Definition, name: str = "", *, depth_first: bool = False) -> tuple[str, bool]:
        """(name, whether it was opened now) of the open crawl of `definition`, or of the crawl `name`.

        Raises UserError where `name` is another definition's, or complete.
        """
        reply = await self._run(
            "open",
            definition.digest,
            definition.text,
            name,
            fresh_crawl_id(),
            self.keys.shards,
            json.dumps(definition.sites),
        )
        crawl, opened, state, digest, shards = reply[0].decode(), bool(reply[1]), reply[2].decode(), reply[3], reply[4]
        if digest.decode() != definition.digest:
            raise UserError(f"crawl {crawl} has other sites or URLs: name another with -s FRONTIER_CRAWL_ID=")
        if shards != self.keys.shards:
            raise UserError(f"crawl {crawl} has {shards} shards: set FRONTIER_SHARDS={shards}, or open another")
        if state == "complete":
            raise UserError(
                f"crawl {crawl} is complete: name another with -s FRONTIER_CRAWL_ID=, or fetch its dead requests again "
                f"with `scrapy frontier requeue --dead --crawl {crawl}`"
            )
        if opened or state == "running":
            await self._everywhere(crawl, "running", depth_first=depth_first)
        return crawl, opened

    async def set_state(self, crawl: str, state: str) -> tuple[str, str]:
        """(state that it has now, state that it had)."""
        now, had = (part.decode() for part in await self._run("state", crawl, state))
        if now == state:
            await self._everywhere(crawl, state)
        return now, had

    async def state(self, crawl: str) -> str:
        """The registry's word; 'gone' for a crawl that is not there."""
        found = await self._registry.one("HGET", f"{self.keys.registry}:crawl:{crawl}", "state")
        return found.decode() if found else "gone"

    async def describe(self, crawl: str) -> dict[str, str]:
        """The registry's hash of a crawl; empty where there is none."""
        flat = await self._registry.one("HGETALL", f"{self.keys.registry}:crawl:{crawl}")
        return {flat[i].decode(): flat[i + 1].decode() for i in range(0, len(flat), 2)}

    async def names(self, most: int = 100) -> list[str]:
        """The latest crawls, the newest first."""
        found = await self._registry.one("ZREVRANGE", f"{self.keys.registry}:crawls", 0, most - 1)
        return [name.decode() for name in found]

    async def running(self) -> list[tuple[str, str]]:
        """(name, definition as JSON) of the open crawls that are running."""
        names = await self._registry.one("HVALS", f"{self.keys.registry}:open")
        described = [(name.decode(), await self.describe(name.decode())) for name in names]
        return [(name, fields["definition"]) for name, fields in described if fields.get("state") == "running"]

    async def last_opened(self) -> dict[str, float]:
        """When a crawl of each site was last opened, in seconds since the epoch."""
        flat = await self._registry.one("HGETALL", f"{self.keys.registry}:sites")
        return {flat[i].decode(): int(flat[i + 1]) / 1000 for i in range(0, len(flat), 2)}

    async def totals(self, crawl: str) -> Totals:
        """The equation of `crawl`."""
        total, versions = Totals(state=await self.state(crawl)), []
        for number, connection in enumerate(self._connections):
            reply = await connection.one(*run("totals", self.keys.shard(number), self.keys.crawl(number, crawl)))
            _, counts, leased, delayed, _, workers = msgpack.unpackb(reply, raw=False)
            versions.append(counts.pop("version"))
            for name, n in counts.items():
                total.counts[name] = total.counts.get(name, 0) + n
            total.leased += leased
            total.delayed += delayed
            total.workers = max(total.workers, workers)
        total.versions = tuple(versions)
        return total

    async def complete(self, crawl: str, keep_seconds: int) -> bool:
        """Whether the crawl is complete; the last worker to find nothing open makes it so.

        A double collect: what was empty in every shard, twice, with nothing changed in between, was empty at once.
        """
        first = await self.totals(crawl)
        if first.state == "complete":
            return True
        if first.open or (len(self._connections) > 1 and (await self.totals(crawl)).versions != first.versions):
            return False
        state, had = await self.set_state(crawl, "complete")
        if state == "complete" and had != "complete":
            await self._expire(crawl, keep_seconds)
        return state == "complete"

    async def reopen(self, crawl: str) -> None:
        """A complete crawl has requests again."""
        await self.set_state(crawl, "running")
        for number, connection in enumerate(self._connections):
            async for batch in self.keys_of(crawl, number):
                await connection.call(*(("PERSIST", key) for key in batch if b":done:" not in key))

    async def keys_of(self, crawl: str, number: int) -> Any:
        """The keys of a crawl in a shard, in batches."""
        cursor, pattern = b"0", f"{_escaped(self.keys.crawl(number, crawl))}:*"
        while True:
            cursor, batch = await self._connections[number].one("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
            if batch:
                yield batch
            if cursor == b"0":
                return

    async def seeding(self, crawl: str, worker: str, action: str, number: int = 0) -> list[Any]:
        """The reply of lua/seeding.lua."""
        reply = await self._run("seeding", crawl, worker, action, number)
        return [part.decode() if isinstance(part, bytes) else part for part in reply]

    async def close(self) -> None:
        """Drop the connections."""
        for connection in self._connections:
            await connection.close()

    async def _expire(self, crawl: str, seconds: int) -> None:
        """What a complete crawl leaves goes by itself, its dead requests among it."""
        for number, connection in enumerate(self._connections):
            async for batch in self.keys_of(crawl, number):
                await connection.call(*(("EXPIRE", key, seconds) for key in batch if b":done:" not in key))

    async def _everywhere(self, crawl: str, state: str, *, depth_first: bool | None = None) -> None:
        for number, connection in enumerate(self._connections):
            key = f"{self.keys.crawl(number, crawl)}:meta"
            await connection.one("HSET", key, "state", state)
            if depth_first is not None:
                await connection.one("HSETNX", key, "depth_first", int(depth_first))

    async def _run(self, script: str, *arguments: str | float) -> Any:
        return await self._registry.one(*run(script, self.keys.shard(0), self.keys.registry, *arguments))


def _escaped(text: str) -> str:
    return "".join(f"\\{char}" if char in "*?[]\\^" else char for char in text)

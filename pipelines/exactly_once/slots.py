"""Redis's side of exactly once: the slots of a shard. The scripts are crawlers/frontier/lua/slot_*.lua."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import msgpack
import structlog
from redis.exceptions import ResponseError

from crawlers.frontier.options import slots_of
from crawlers.frontier.scripts import run

if TYPE_CHECKING:
    from crawlers.changes.notes import Note
    from crawlers.frontier.connection import Connection, Servers
    from crawlers.frontier.frontier import Frontier
    from pipelines.exactly_once.ledger import Entry

log = structlog.get_logger("seine.exactly_once")

_POISON = re.compile(r"^POISON (\d+)")
"""The number of a request whose notes are none."""


class Held(NamedTuple):
    """What a claimed slot holds."""

    token: bytes
    """Of the batch that is prepared; empty where none is."""
    offset: int
    """Of the first entry of its ledger that this Redis has not seen."""
    run_id: bytes


class Prepared(NamedTuple):
    """The answer to a batch."""

    what: str
    """ok, lost, resync, wait or busy."""
    ids: set[bytes]
    repeated: set[bytes]
    """Their records are in Kafka already: they must not be produced."""


class Slots:
    """One shard's, over a connection of their own, which is made again when it was lost.

    Every call raises one of AWAY when Redis cannot be asked; each may be repeated.
    """

    def __init__(self, servers: Servers, frontier: Frontier, shard: int):
        self._servers = servers
        self._lock = asyncio.Lock()
        numbers = slots_of(shard, frontier.keys.shards, frontier.options.slots)
        self._numbers = " ".join(map(str, numbers))
        self._options = frontier.options
        self._worker = frontier.worker
        self._root = frontier.keys.shard(shard)
        self.crawl = frontier.keys.crawl(shard, frontier.crawl)
        """The root of the crawl's keys, which names it in the ledger."""
        self._connection: Connection | None = None

    async def claim(self, claim: str, *, only_left: bool = False) -> int | None:
        """The slot that is `claim`'s now; None where none is free or, with `only_left`, none was left in the middle."""
        slot = await self._run("slot_claim", claim, self._ttl, self._numbers, int(only_left))
        return None if slot < 0 else int(slot)

    async def look(self, slot: int, claim: str) -> Held | None:
        """What it holds; None where the claim is lost. The claim lives on."""
        found = await self._run("slot_look", slot, claim, self._ttl)
        return Held(*found) if found else None

    async def prepare(
        self, slot: int, claim: str, token: str, requests: list[tuple[bytes, bytes, str, str, int, list[Note]]]
    ) -> Prepared:
        """Of each request: id, token of its lease, outcome, reason, dead letters among its records, notes.

        Notes that Redis refuses are left out: their products are told again.
        """
        packed = msgpack.packb(requests, use_bin_type=False)
        script = ("slot_prepare", slot, claim, self._ttl, self._numbers, self._worker, token, packed)
        try:
            what, ids, repeated = msgpack.unpackb(await self._run(*script), raw=True)
        except ResponseError as error:
            if (poison := _POISON.match(str(error))) is None:
                raise
            place = int(poison[1]) - 1
            log.error("notes refused by Redis", notes=len(requests[place][5]))
            requests = list(requests)
            requests[place] = (*requests[place][:5], [])
            return await self.prepare(slot, claim, token, requests)
        return Prepared(what.decode(), set(ids), set(repeated))

    async def settle(self, slot: int, claim: str, token: str, offset: int | None) -> str:
        """ok, lost, resync or unknown."""
        after = "" if offset is None else offset
        kept = self._options.outcome_seconds
        return (await self._run("slot_settle", slot, claim, token, after, self._ttl, kept)).decode()  # type: ignore[no-any-return]

    async def resolve(
        self, slot: int, claim: str, held: Held, page: tuple[list[Entry], int, bool], new_token: str, token: str
    ) -> tuple[str, set[bytes]]:
        """(lost, again, more, none, settled, past, kept or released; ids that are kept under the new token).

        `page` is the ledger reader's, `token` that of the batch in memory.
        """
        entries, end, is_last = page
        packed = msgpack.packb([entry.packable() for entry in entries], use_bin_type=False)
        options = (self._options.outcome_seconds, self._options.most_losses)
        given = (held.run_id, end, new_token, *options, packed, self._ttl, int(is_last), token)
        what, ids = msgpack.unpackb(await self._run("slot_resolve", slot, claim, *given), raw=True)
        return what.decode(), set(ids)

    async def leave(self, slot: int, claim: str) -> None:
        """Others may have it at once."""
        await self._run("slot_leave", slot, claim)

    async def close(self) -> None:
        """Drop the connection."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    @property
    def renewal(self) -> float:
        """Seconds after which a claim is to be looked after."""
        return self._options.lease_seconds / 3

    @property
    def _ttl(self) -> int:
        return self._options.lease_ms

    async def _run(self, script: str, *arguments: str | bytes | float) -> Any:
        async with self._lock:
            if self._connection is None:
                self._connection = await self._servers.connect(self._root)
            try:
                return await self._connection.one(*run(script, self._root, self.crawl, *arguments))
            except BaseException:
                await self.close()
                raise

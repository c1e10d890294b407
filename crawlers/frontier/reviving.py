"""Dead requests leave by lua/revive.lua alone: `scrapy frontier requeue` and `scrapy dlq replay` share it."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, NamedTuple, Self

import msgpack

from crawlers.exceptions import StartupError
from crawlers.frontier.scripts import run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crawlers.frontier.fleet import Fleet

DONE, GONE, BACK, ALIVE, LATER, TAKEN, OTHER = "done", "gone", "back", "alive", "later", "taken", "other"
"""What lua/revive.lua says of a dead request; it describes them."""
_HOLD_MS = 60_000
"""That a crawl stays open for without a word from who adds requests to it."""
_TAKEN_MS = 600_000
"""That a replay has a request's items for without a word from it."""
_KEPT_MS = 86_400_000
"""The same once it may have committed them: only the next replay can tell."""


class Dead(NamedTuple):
    """One death of a request."""

    id: bytes
    death: int
    """How many-th it is."""
    letter: str = ""
    """The id of one of its dead letters."""

    @classmethod
    def read(cls, id_: bytes, packed: bytes) -> Self:
        """That of a row of C:dead."""
        row = msgpack.unpackb(packed, raw=True)
        return cls(id_, row[5] if len(row) > 5 else 1)


class Reviving:
    """`async with`: the crawl is not complete meanwhile. Each method tells, for each death, what became of it.

    `replay` names the one that takes items.
    """

    def __init__(self, fleet: Fleet, crawl: str, replay: str = ""):
        self._fleet = fleet
        self._crawl = crawl
        self._replay = replay
        self._holder = f"revive-{secrets.token_hex(4)}"
        self._state = ""

    async def __aenter__(self) -> Self:
        await self._hold(_HOLD_MS)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._hold(0)

    async def queue(self, number: int, dead: Sequence[Dead]) -> list[str]:
        """Send requests of a shard back to their queues, and open the crawl again where it was complete.

        StartupError where fewer replicas know of it than must.
        """
        await self._hold(_HOLD_MS)
        if self._state == "complete" and await self._any(number, dead):
            await self._fleet.crawls.reopen(self._crawl)
            await self._hold(_HOLD_MS)
        told = await self._run(number, "queue", dead)
        await self._replicated(number)
        return told

    async def take(self, number: int, dead: Sequence[Dead]) -> list[str]:
        """Keep others from sending requests back whose items are being replayed."""
        return await self._run(number, "take", dead, _TAKEN_MS)

    async def keep(self, number: int, dead: Sequence[Dead]) -> list[str]:
        """The same for longer: their items are about to be committed. `taken`: another replay has them."""
        return await self._run(number, "keep", dead, _KEPT_MS)

    async def free(self, number: int, dead: Sequence[Dead]) -> list[str]:
        """The replay has no need of them any more."""
        return await self._run(number, "free", dead)

    async def delivered(self, number: int, dead: Sequence[Dead]) -> list[str]:
        """The items of these letters are delivered."""
        return await self._run(number, "delivered", dead)

    async def _any(self, number: int, dead: Sequence[Dead]) -> bool:
        """Whether one of them is dead."""
        root = self._fleet.keys.crawl(number, self._crawl)
        found = await self._fleet.connections[number].one("HMGET", f"{root}:dead", *(one.id for one in dead))
        return any(row is not None for row in found)

    async def _replicated(self, number: int) -> None:
        options = self._fleet.options
        if not options.wait_replicas:
            return
        wait = "WAIT", options.wait_replicas, options.wait_milliseconds
        if await self._fleet.connections[number].one(*wait) < options.wait_replicas:
            raise StartupError(
                f"fewer than {options.wait_replicas} replicas (FRONTIER_WAIT_REPLICAS) know what was sent back: "
                "run the command again when they do"
            )

    async def _hold(self, milliseconds: int) -> None:
        [self._state] = await self._fleet.crawls.seeding(self._crawl, self._holder, "hold", milliseconds)

    async def _run(self, number: int, action: str, dead: Sequence[Dead], milliseconds: int = 0) -> list[str]:
        roots = self._fleet.keys.shard(number), self._fleet.keys.crawl(number, self._crawl)
        kept = self._fleet.options.outcome_seconds
        command = run(
            "revive", *roots, action, milliseconds, kept, self._replay, *(part for one in dead for part in one)
        )
        return [word.decode() for word in await self._fleet.connections[number].one(*command)]

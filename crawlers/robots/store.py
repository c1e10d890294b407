"""Where copies of robots.txt are kept, and whose turn it is to fetch one: in this process, or in Redis for the fleet.

Keys, of the domain's shard S (see lua/common.lua), by the product token of the agent whose rules are kept; only Redis's
clock counts:
  S:robots:<token>:<origin>        the copy, as reducing.py leaves it, deflated; it expires when it is too old even as a
                                   stale one, which tells its age
  S:robots:<token>:<origin>:turn   'fetching' while a worker fetches it, 'waiting' while nobody is to, as it was
                                   unreachable
  S:robots:<token>:<origin>:away   how often it was unreachable since its last copy; its expiry tells since when
"""

from __future__ import annotations

import asyncio
import zlib
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple, Protocol

import structlog

from crawlers.domains import domain_of
from crawlers.frontier.connection import AWAY, failed, told
from crawlers.robots.bounded import Bounded

if TYPE_CHECKING:
    from typing import Any

    from crawlers.frontier.connection import Connection, Servers
    from crawlers.frontier.keys import Keys

log = structlog.get_logger("seine.robots")

LONGEST_PAUSE = 300.0
"""Seconds until an unreachable robots.txt is tried again, at most; 1 at first, doubled each time. A Retry-After may be
longer."""
_MOST = 32 * 1024 * 1024
"""Bytes that a LocalStore keeps."""
_ENTRY = 500
"""Bytes of one of its entries without its copy, about."""
FETCHING, WAITING = b"fetching", b"waiting"


class Copy(NamedTuple):
    body: bytes
    age: float
    """Seconds."""


class Turn(NamedTuple):
    """Whether to fetch now; else whether somebody does, and for how many seconds at most that holds."""

    is_ours: bool
    is_fetching: bool = False
    wait: float = 0.0


class Absence(NamedTuple):
    seconds: float
    """Since it was first unreachable."""
    pause: float
    """Seconds until the next try."""


class RobotsStore(Protocol):
    """Copies live for `keep` seconds, a turn for `turn` seconds; after a miss nobody asks again for `wait` seconds at
    least. Only RedisStore's raise, one of AWAY.
    """

    async def look(self, origin: str) -> Copy | None: ...
    async def take_turn(self, origin: str) -> Turn: ...
    async def give_turn_back(self, origin: str) -> None: ...
    async def put(self, origin: str, body: bytes) -> None: ...
    async def miss(self, origin: str, wait: float = 0.0) -> Absence: ...


def pause_after(failures: int) -> float:
    """Seconds until another try, after so many failed ones in a row."""
    return float(min(LONGEST_PAUSE, 2.0 ** min(failures - 1, 20)))


@dataclass(slots=True)
class _Entry:
    body: bytes | None = None
    fetched_at: float = 0.0
    turn: bytes = b""
    turn_until: float = 0.0
    failures: int = 0
    away_since: float = 0.0


@dataclass(slots=True)
class LocalStore:
    """Of one process, on its monotonic clock. What was used longest ago makes room where it is too much."""

    keep: float
    turn: float
    _entries: Bounded[_Entry] = field(default_factory=lambda: Bounded(_MOST))

    async def look(self, origin: str) -> Copy | None:
        entry = self._entries.get(origin)
        if entry is None or entry.body is None:
            return None
        age = monotonic() - entry.fetched_at
        if age >= self.keep:
            entry.body = None
            self._entries.put(origin, entry, _ENTRY)
            return None
        return Copy(entry.body, age)

    async def take_turn(self, origin: str) -> Turn:
        entry, now = self._entry(origin), monotonic()
        if entry.turn_until > now:
            return Turn(False, entry.turn == FETCHING, entry.turn_until - now)
        entry.turn, entry.turn_until = FETCHING, now + self.turn
        return Turn(True)

    async def give_turn_back(self, origin: str) -> None:
        self._entry(origin).turn_until = 0.0

    async def put(self, origin: str, body: bytes) -> None:
        self._entries.put(origin, _Entry(body, monotonic()), _ENTRY + len(body))

    async def miss(self, origin: str, wait: float = 0.0) -> Absence:
        entry, now = self._entry(origin), monotonic()
        entry.away_since = entry.away_since or now
        entry.failures += 1
        pause = max(pause_after(entry.failures), wait)
        entry.turn, entry.turn_until = WAITING, now + pause
        return Absence(now - entry.away_since, pause)

    def _entry(self, origin: str) -> _Entry:
        entry = self._entries.get(origin)
        if entry is None:
            entry = _Entry()
            self._entries.put(origin, entry, _ENTRY)
        return entry


class RedisStore:
    """The fleet's, of the rules for the agent of that token."""

    def __init__(self, servers: Servers, keys: Keys, token: str, keep: float, turn: float):
        self._servers = servers
        self._keys = keys
        self._token = token
        self._keep = round(1000 * keep)
        self._turn = round(1000 * turn)
        self._connections: dict[int, Connection] = {}
        self._lock = asyncio.Lock()

    async def look(self, origin: str) -> Copy | None:
        body, left = await self._ask(origin, ("GET", ""), ("PTTL", ""))
        return None if body is None else Copy(zlib.decompress(body), max(0, self._keep - left) / 1000)

    async def take_turn(self, origin: str) -> Turn:
        taken, turn, left = await self._ask(
            origin, ("SET", ":turn", FETCHING, "NX", "PX", self._turn), ("GET", ":turn"), ("PTTL", ":turn")
        )
        return Turn(True) if taken else Turn(False, turn == FETCHING, max(0, left) / 1000)

    async def give_turn_back(self, origin: str) -> None:
        await self._ask(origin, ("DEL", ":turn"))

    async def put(self, origin: str, body: bytes) -> None:
        copy = zlib.compress(body)
        await self._ask(origin, ("SET", "", copy, "PX", self._keep), ("DEL", ":away"), ("DEL", ":turn"))

    async def miss(self, origin: str, wait: float = 0.0) -> Absence:
        longest = 2 * self._keep
        _, failures, left = await self._ask(
            origin, ("SET", ":away", 0, "NX", "PX", longest), ("INCR", ":away"), ("PTTL", ":away")
        )
        pause = max(pause_after(failures), wait)
        await self._ask(origin, ("SET", ":turn", WAITING, "PX", round(1000 * pause)))
        return Absence(max(0, longest - left) / 1000, pause)

    async def close(self) -> None:
        """Drop the connections."""
        for connection in self._connections.values():
            await connection.close()
        self._connections.clear()

    async def _ask(self, origin: str, *commands: tuple[Any, ...]) -> list[Any]:
        """The replies to commands whose second word is what follows the origin's key."""
        shard = self._keys.shard_of(domain_of(origin))
        key = f"{self._keys.shard(shard)}:robots:{self._token}:{origin}"
        async with self._lock:
            try:
                if shard not in self._connections:
                    self._connections[shard] = await self._servers.connect(self._keys.shard(shard))
                asked = ((name, key + end, *rest) for name, end, *rest in commands)
                replies = await self._connections[shard].call(*asked)
                if (error := failed(replies)) is not None:
                    raise error
            except AWAY as error:
                log.warning("robots.txt is not shared: Redis cannot be asked", error=told(error))
                if (connection := self._connections.pop(shard, None)) is not None:
                    await connection.close()
                raise
        return replies

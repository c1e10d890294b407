"""What became of one URL in a crawl."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgpack

from crawlers.frontier.paging import escaped, pages, pairs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crawlers.frontier.fleet import Fleet

_OUTCOMES = {b"D": "delivered", b"E": "expanded", b"R": "redirected", b"M": "empty", b"F": "filtered"}
_DEEPEST = 24
"""Of the tree of seen fingerprints, as in lua/enqueue.lua."""
_DEEPER = 2
"""Outcomes lie so much deeper than the seen fingerprints did then, as in lua/settle.lua."""
_LOOKS = 2
"""A request may move on while it is looked for."""


@dataclass(slots=True)
class Trace:
    """Where one request is. Times are in seconds."""

    fate: str
    """pending, leased, delayed, dead, an outcome, or `forgotten`: known, and its outcome no longer kept."""
    shard: int
    domain: str = ""
    """The budget that it waits in, or waited."""
    unfiltered: bool = False
    """Whether it is the last of the requests for this URL that were not to be filtered."""
    before: int | None = None
    """Requests of its domain that come first, while it is pending."""
    worker: str = ""
    """Who has it leased: name, and the worker's id."""
    due_in: float | None = None
    """Until it is tried again, while it is delayed."""
    ago: float | None = None
    """Since its outcome."""
    attempts: int | None = None
    """That it took, the last included."""
    reason: str = ""
    tries: list[str] = field(default_factory=list)
    """Why each attempt failed that did."""


class Search:
    """Looks for one fingerprint in every shard of a crawl; `budgets` are those that it may be charged to."""

    def __init__(self, fleet: Fleet, crawl: str, fingerprint: bytes, budgets: Iterable[str]):
        self._fleet = fleet
        self._crawl = crawl
        self._fingerprint = fingerprint[:8]
        self._budgets = list(budgets)

    async def traces(self) -> list[Trace]:
        """Of the request for the URL, and of the last one that was not to be filtered; [] where there is neither."""
        found = []
        for number, connection in self._fleet.shards():
            root = self._fleet.keys.crawl(number, self._crawl)
            if await self._is_seen(number, root):
                found.append(await self._trace(number, root, self._fingerprint) or Trace("forgotten", number))
            if copy := await connection.one("HGET", f"{root}:copies", self._fingerprint):
                trace = await self._trace(number, root, copy) or Trace("forgotten", number)
                trace.unfiltered = True
                found.append(trace)
        return found

    async def _is_seen(self, number: int, root: str) -> bool:
        decimal = str(int.from_bytes(self._fingerprint, "big", signed=True))
        nodes = (_node(self._fingerprint, depth) for depth in range(_DEEPEST + 1))
        asked = (("SISMEMBER", f"{root}:seen:{node}", decimal) for node in nodes)
        return any(await self._fleet.connections[number].call(*asked))

    async def _trace(self, number: int, root: str, id_: bytes) -> Trace | None:
        for _ in range(_LOOKS):
            trace = await self._elsewhere(number, root, id_) or await self._pending(number, root, id_)
            if trace is not None:
                return trace
        return await self._elsewhere(number, root, id_)

    async def _elsewhere(self, number: int, root: str, id_: bytes) -> Trace | None:
        """Where it is unless it is pending: in its way's order, so that it cannot slip through in going on."""
        connection, now = self._fleet.connections[number], await self._fleet.now()
        tries, leased, due, later, dead = await connection.call(
            ("HGET", f"{root}:tries", id_),
            ("HGET", f"{root}:leases", id_),
            ("ZSCORE", f"{root}:delayed", id_),
            ("HGET", f"{root}:later", id_),
            ("HGET", f"{root}:dead", id_),
        )
        reasons = _texts(msgpack.unpackb(tries, raw=True)) if tries else []
        if leased:
            row = msgpack.unpackb(leased, raw=True)
            worker = await self._name_of(number, row[1].decode())
            return Trace("leased", number, row[2].decode(), worker=worker, tries=reasons)
        if due and later:
            due_in = max(0.0, float(due) - now) / 1000
            return Trace("delayed", number, _domain(later), due_in=due_in, tries=reasons)
        if dead:
            domain, _, _, moment, why, *_ = msgpack.unpackb(dead, raw=True)
            why, ago = _texts(why), max(0.0, now - moment) / 1000
            return Trace("dead", number, domain.decode(), ago=ago, attempts=len(why), reason=why[-1], tries=why)
        return await self._outcome(number, root, id_, now)

    async def _outcome(self, number: int, root: str, id_: bytes, now: int) -> Trace | None:
        """Outcomes lie in eras, and in slots as many as there were seen fingerprints then; the latest is told."""
        connection = self._fleet.connections[number]
        depth = int(await connection.one("HGET", f"{root}:meta", "seen_depth") or 0)
        kept = self._fleet.options.outcome_seconds
        if kept <= 0:
            return None
        era = now // (kept * 1000)
        slots = [_node(id_, at) for at in range(_DEEPER, depth + _DEEPER + 1)]
        keys = [f"{root}:done:{one}:{slot}" for one in (era, era - 1, era - 2) for slot in slots]
        replies = await connection.call(*(("HGET", key, id_) for key in keys))
        found = [_read_outcome(reply, number, now) for reply in replies if isinstance(reply, bytes)]
        return min(found, key=lambda trace: trace.ago or 0.0, default=None)

    async def _pending(self, number: int, root: str, id_: bytes) -> Trace | None:
        connection = self._fleet.connections[number]
        for budget in self._budgets:
            queue = f"{root}:queue:{budget}"
            async for page in pages(connection, "ZSCAN", queue, match=escaped(id_) + b"*"):
                for member, _ in pairs(page):
                    rank, tries = await connection.call(("ZRANK", queue, member), ("HGET", f"{root}:tries", id_))
                    reasons = _texts(msgpack.unpackb(tries, raw=True)) if tries else []
                    return Trace("pending", number, budget, before=rank, tries=reasons)
        return None

    async def _name_of(self, number: int, worker: str) -> str:
        key = f"{self._fleet.keys.shard(number)}:worker:{worker}"
        info = await self._fleet.connections[number].one("HGET", key, "info")
        return f"{json.loads(info).get('name', '')} ({worker})" if info else worker


def _node(fingerprint: bytes, depth: int) -> int:
    """The node of the tree of fingerprints at `depth`: the root is 1, the children of k are 2k and 2k + 1 by bit."""
    return int(2**depth + struct.unpack(">I", fingerprint[4:8])[0] % 2**depth)


def _read_outcome(value: bytes, shard: int, now: int) -> Trace:
    """Of the letter, moment, attempts and reason that lua/settle.lua remembers."""
    moment, attempts, reason = value[1:].split(b"|", 2)
    ago = max(0.0, now / 1000 - int(moment))
    return Trace(_OUTCOMES[value[:1]], shard, ago=ago, attempts=int(attempts), reason=reason.decode())


def _domain(later: bytes) -> str:
    return str(msgpack.unpackb(later, raw=True)[0].decode())


def _texts(values: Any) -> list[str]:
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]

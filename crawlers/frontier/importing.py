"""Moves a spider's queue and seen-set from scrapy-redis into a crawl of the frontier.

The queue goes first: what waits in it is in the seen-set too, and would be refused as known. A fingerprint of the
seen-set becomes known in the crawl, and counts as seeded and filtered, `imported as seen`. Nobody is given requests of
the crawl before all of it is there. What is done again is harmless: everything is known by then.

Of a seen fingerprint nobody knows the domain, so that every shard must know it; shard 0 counts it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from array import array
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from crawlers.exceptions import UserError
from crawlers.frontier.crawls import IMPORT, Definition
from crawlers.frontier.fingerprints import fingerprinting
from crawlers.frontier.outside import TAKES_SEEDS, WayIn
from crawlers.frontier.scrapy_redis_entries import Refusals, Refused
from crawlers.frontier.seen_formula import find_formula

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from scrapy import Request
    from scrapy.crawler import Crawler

    from crawlers.frontier.crawls import Crawls, Totals
    from crawlers.frontier.fleet import Fleet
    from crawlers.frontier.scrapy_redis_entries import Entry, EntryReader
    from crawlers.frontier.scrapy_redis_source import ScrapyRedisSource

SEEN = "imported as seen"
_MOST_LEFT = 10_000
"""Entries that can be left behind where the others are removed."""


@dataclass(slots=True)
class Imported:
    """What came of an import, or would."""

    queue: str
    seen_set: str
    where: str
    formula: str
    """Of the fingerprints."""
    told_by: str
    """How it is known."""
    crawl: str = ""
    state: str = ""
    entries: int = 0
    """Read from the queue."""
    added: int = 0
    duplicates: int = 0
    """Requests that were in the crawl before."""
    over_limit: int = 0
    refusals: Refusals = field(default_factory=Refusals)
    fingerprints: int = 0
    """Read from the seen-set."""
    known: int = 0
    """Of them, those that became known now."""
    unchanged: bool = True
    """Whether the source stayed as it was while it was read."""
    removed: bool = False


class ScrapyRedisImport:
    """One import. `tally` tells how far it is."""

    def __init__(self, crawler: Crawler, fleet: Fleet, source: ScrapyRedisSource, reader: EntryReader):
        self._crawler = crawler
        self._fleet = fleet
        self._source = source
        self._reader = reader
        self._depth_first = crawler.settings["FRONTIER_ORDER"] == "depth"
        self._waiting = array("q")
        """Fingerprints of requests that were read and refused: they are not known, as they will come again."""
        self._left: list[tuple[Entry, bytes | None]] = []
        self.way_in: WayIn | None = None

    @property
    def doing(self) -> str:
        """What it is at."""
        if self.way_in is not None and self.way_in.is_waiting:
            return "waiting for Redis"
        tally = self.tally
        return f"{tally.entries:,} requests of {tally.queue}, {tally.fingerprints:,} fingerprints of {tally.seen_set}"

    async def prepare(self, formula: str | None = None, name: str = "") -> None:
        """Look at what there is, and change nothing. UserError where it cannot be imported as it was asked."""
        source = self._source
        existing = await self._existing(name)
        if source.is_empty and existing is None:
            raise UserError(f"nothing to import: neither {source.queue_key} nor {source.seen_key} is at {source.where}")
        await self._check_entries()
        found, told_by = await asyncio.to_thread(find_formula, self._crawler, source, self._reader, formula, existing)
        if existing not in (None, found):
            raise UserError(f"crawl {name} has fingerprints of {existing}, not of {found}: name another with --crawl")
        self._name = name
        self.tally = Imported(source.queue_key, source.seen_key, source.where, found, told_by, crawl=name)
        self._fingerprint = fingerprinting(self._crawler, found)

    async def rehearse(self) -> Imported:
        """What `run` would do."""
        async for entry in self._entries():
            self.tally.entries += 1
            if self._read(entry) is not None:
                self.tally.added += 1
        self.tally.fingerprints = self._source.seen
        return self.tally

    async def run(self, *, move: bool = False) -> Imported:
        """Return when everything is in the crawl, and removed from its source where that was asked."""
        tally, fleet = self.tally, self._fleet
        definition = Definition(source=f"{IMPORT}{tally.formula}")
        tally.crawl, _ = await fleet.crawls.open(definition, self._name, depth_first=self._depth_first, listed=True)
        async with WayIn(self._crawler, fleet.keys, tally.crawl, f"import of {tally.queue}") as self.way_in:
            tally.state = await self._pause()
            before, restarts = await self._known(), -1
            while restarts != self.way_in.frontier.restarts:  # one of Redis may have lost what it had confirmed
                restarts = self.way_in.frontier.restarts
                self._begin()
                await self._import_queue()
                await self._import_seen()
            tally.known = await self._known() - before
            if move and len(self._left) <= _MOST_LEFT:
                tally.removed = tally.unchanged = await asyncio.to_thread(self._source.remove, self._left)
            else:
                tally.unchanged = await asyncio.to_thread(self._source.is_unchanged)
            await self._resume(tally.state)
        return tally

    # --- What there is

    async def _existing(self, name: str) -> str | None:
        """The formula of the crawl, if there is such a crawl."""
        described = await self._fleet.crawls.describe(name) if name else {}
        if not described:
            return None
        definition = Definition.read(described["definition"])
        if definition is None or not definition.is_import:
            raise UserError(f"crawl {name} was not opened by an import: name another with --crawl")
        if described["state"] not in TAKES_SEEDS:
            raise UserError(f"crawl {name} is {described['state']}: it takes no more. Name another with --crawl")
        return definition.formula

    async def _check_entries(self) -> None:
        """Without permission to run code, every entry must be data: one that is not is not found half-way."""
        if not self._reader.is_trusted:
            async for entry in self._entries():
                self._reader.check(entry, self._source.queue_key)

    # --- What is brought over

    def _begin(self) -> None:
        self.tally.entries = self.tally.fingerprints = 0
        self.tally.refusals = Refusals()
        self._waiting = array("q")
        self._left = []

    async def _import_queue(self) -> None:
        assert self.way_in is not None
        async for entry in self._entries():
            self.tally.entries += 1
            if (read := self._read(entry)) is not None:
                self._add(entry, *read)
                await self.way_in.room()
        await self.way_in.confirmed()
        tally, frontier = self.tally, self.way_in.frontier
        tally.added, tally.over_limit = frontier.added, frontier.over_limit
        tally.duplicates = max(0, tally.entries - tally.refusals.counts.total() - tally.added - tally.over_limit)

    def _read(self, entry: Entry) -> tuple[Request, bytes] | None:
        """The request and its bytes; None where it is refused."""
        try:
            return self._reader.read(entry)
        except Refused as refused:
            request = refused.request
            self.tally.refusals.add(str(refused), request.url if request is not None else repr(entry.raw[:60]))
            fingerprint = self._fingerprint(request) if request is not None and not request.dont_filter else None
            if fingerprint is not None:
                self._waiting.append(_integer(fingerprint[:8]))
            if len(self._left) <= _MOST_LEFT:
                self._left.append((entry, fingerprint.hex().encode() if fingerprint is not None else None))
            return None

    def _add(self, entry: Entry, request: Request, data: bytes) -> None:
        """One that is not to be filtered is known by its bytes: it is taken every time, but not from here twice."""
        assert self.way_in is not None
        way_in, fingerprint = self.way_in, self._fingerprint(request)[:8]
        id_ = hashlib.blake2b(entry.raw, digest_size=8).digest() if request.dont_filter else fingerprint
        shard = way_in.add(request, data, id_, original=fingerprint if request.dont_filter else b"")
        if not request.dont_filter and self._source.seen:
            way_in.know(id_, {*range(self._fleet.keys.shards)} - {shard})

    async def _import_seen(self) -> None:
        assert self.way_in is not None
        self._waiting = array("q", sorted(self._waiting))
        async for page in _in_thread(self._source.fingerprints()):
            for fingerprint in page:
                self.tally.fingerprints += 1
                self._know(fingerprint)
            await self.way_in.room()
        await self.way_in.confirmed()

    def _know(self, fingerprint: bytes) -> None:
        assert self.way_in is not None
        id_ = _sha1_of(fingerprint)
        if id_ is None:
            self.tally.refusals.add("no SHA1 in the seen-set", repr(fingerprint[:60]))
        elif not self._is_waiting(_integer(id_)):
            self.way_in.know(id_, range(self._fleet.keys.shards), counted_in=0)

    def _is_waiting(self, integer: int) -> bool:
        index = bisect_left(self._waiting, integer)
        return index < len(self._waiting) and self._waiting[index] == integer

    # --- The crawl meanwhile

    async def _pause(self) -> str:
        """Nobody is given requests; the state that the crawl has when all is there, also where it was cut off."""
        assert self.way_in is not None
        crawl, queue = self.tally.crawl, self.tally.queue
        text = await self._ask(lambda crawls: crawls.noted(crawl, queue))
        noted = json.loads(text) if text else {}
        state: str = self.way_in.state if noted.get("done", True) else noted["state"]
        await self._note(state, done=False)
        await self._ask(lambda crawls: crawls.set_state(crawl, "paused"))
        return state

    async def _resume(self, state: str) -> None:
        assert self.way_in is not None
        await self._note(state, done=True)
        await self.way_in.tell("listed")
        await self._ask(lambda crawls: crawls.set_state(self.tally.crawl, state))

    async def _note(self, state: str, *, done: bool) -> None:
        tally = self.tally
        noted = {"lines": tally.entries, "refused": tally.refusals.counts.total(), "done": done, "state": state}
        await self._ask(lambda crawls: crawls.note(tally.crawl, tally.queue, json.dumps(noted)))

    async def _known(self) -> int:
        totals: Totals = await self._ask(lambda crawls: crawls.totals(self.tally.crawl))
        return totals.by_reason("filtered").get(SEEN, 0)

    async def _ask(self, question: Callable[[Crawls], Awaitable[Any]]) -> Any:
        assert self.way_in is not None
        return await self.way_in.control.ask(question)

    async def _entries(self) -> AsyncIterator[Entry]:
        async for page in _in_thread(self._source.entries(backwards=self._depth_first)):
            for entry in page:
                yield entry


async def _in_thread(pages: Iterator[Any]) -> AsyncIterator[Any]:
    """The pages, each read in a thread."""
    while (page := await asyncio.to_thread(next, pages, None)) is not None:
        yield page


def _integer(id_: bytes) -> int:
    return int.from_bytes(id_, "big", signed=True)


def _sha1_of(fingerprint: bytes) -> bytes | None:
    """The first 8 bytes of a fingerprint as it is written there; None for what is none."""
    if len(fingerprint) != 40:
        return None
    try:
        return bytes.fromhex(fingerprint.decode("ascii"))[:8]
    except ValueError:
        return None

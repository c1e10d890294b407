"""Replays letters: requests go back to the frontier, items through the pipelines.

For each batch: the frontier's transition first, which decides who sends a request back; then one Kafka transaction with
the items' records and a receipt for each letter; then the frontier is told which items are delivered. Cut off between
any two steps, the same command goes on: a letter without a receipt is looked at again, and what was done to its request
is known.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

from crawlers.dead_letters.batch import Batch, Valued
from crawlers.dead_letters.claimed import ClaimedValues
from crawlers.dead_letters.frontiers import Frontiers
from crawlers.dead_letters.index import AT_ONCE, Index
from crawlers.dead_letters.items import ItemReplays
from crawlers.dead_letters.requests import RequestReplay
from crawlers.dead_letters.transaction import Transactions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crawlers.dead_letters.letter import Letter
    from crawlers.dead_letters.selection import Selection
    from crawlers.dead_letters.topic import LetterTopic

_BYTES_AT_ONCE = 16_000_000
AT_LIMIT = "sent back too often: DLQ_REPLAY_TIMES"


class Replay:
    """One run. `tally` counts results; `total` is known once the topic is read."""

    def __init__(self, settings: Any, topic: LetterTopic, selection: Selection, limit: int | None, crawl: str | None):
        self._settings = settings
        self._topic = topic
        self._selection = selection
        self._limit = limit
        self._crawl = crawl
        self._most = settings.getint("DLQ_REPLAY_TIMES")
        self.doing = "reading"
        self.done = 0
        self.total = 0
        self.tally: Counter[str] = Counter()
        self.reopened: set[tuple[str, str]] = set()
        """(spider, crawl) of requests that went back where they were."""
        self.crawls: dict[tuple[str, str], tuple[int, int]] = {}
        """Those of other crawls that took requests -> (new there, known there)."""

    async def rehearse(self) -> None:
        """What `run` would look at: by kind, and by what keeps it."""
        for letter in self._due(await asyncio.to_thread(self._read)):
            self.tally[f"{letter.kind}s"] += 1

    async def run(self) -> None:
        """Return when every letter that is meant has been replayed. Fenced where another replay begins meanwhile."""
        transactions = Transactions(self._settings)
        await asyncio.to_thread(transactions.begin)
        index = await asyncio.to_thread(self._read)
        due = self._due(index)
        self.doing, self.done, self.total = "replaying", 0, len(due)
        async with (
            Frontiers(self._settings) as frontiers,
            RequestReplay(self._settings, frontiers, self._crawl) as back,
            ItemReplays(self._settings) as items,
            ClaimedValues(self._settings) as claimed,
        ):
            await self._tell_delivered(frontiers, [receipt for *_, receipt in index.newest])
            batches = _batches(self._topic.values(due))
            while found := await asyncio.to_thread(next, batches, None):
                batch = [(letter, await claimed.value_of(letter, value)) for letter, value in found]
                together = Batch(self._topic.name, batch)
                self.tally += await together.replay(frontiers, back, items, transactions)
                self.reopened |= together.crawls
                self.done += len(batch)
            await back.listed()
            self.crawls = back.counts

    def _read(self) -> Index:
        def told(read: int, there: int) -> None:
            self.done, self.total = read, there

        return Index.read(self._topic, self._selection, told)

    def _due(self, index: Index) -> list[Letter]:
        found = index.open
        due = [letter for letter in found if letter.replays < self._most]
        if at_limit := len(found) - len(due):
            self.tally[AT_LIMIT] = at_limit
        return due[: self._limit]

    async def _tell_delivered(self, frontiers: Frontiers, receipts: list[Letter]) -> None:
        """A replay that was cut off may have left this unsaid; said twice it changes nothing."""
        for first in range(0, len(receipts), AT_ONCE):
            await frontiers.tell("delivered", receipts[first : first + AT_ONCE])


def _batches(letters: Iterator[Valued]) -> Iterator[list[Valued]]:
    """So many letters, or so many bytes of them."""
    batch: list[Valued] = []
    size = 0
    for letter, value in letters:
        batch.append((letter, value))
        size += len(value or b"")
        if len(batch) == AT_ONCE or size >= _BYTES_AT_ONCE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch

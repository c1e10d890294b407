"""What is in the topic, as far as memory needs it: letters that were not replayed, and the ids of those that were."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from crawlers.dead_letters.items import DELIVERED
from pipelines.letter import ITEM

if TYPE_CHECKING:
    from crawlers.dead_letters.letter import Letter
    from crawlers.dead_letters.selection import Selection
    from crawlers.dead_letters.topic import LetterTopic

AT_ONCE = 100
"""Letters of one transaction, at most."""


@dataclass(slots=True)
class Index:
    """The letters that are meant and were not replayed, by their ids; a receipt lies behind its letter."""

    letters: dict[str, Letter] = field(default_factory=dict)
    replayed: set[bytes] = field(default_factory=set)
    """Ids of letters that have a receipt."""
    newest: list[tuple[int, int, int, Letter]] = field(default_factory=list)
    """The newest receipts of delivered items, as many as a replay may have committed and not told the frontier."""

    @classmethod
    def read(
        cls, topic: LetterTopic, selection: Selection, told: Callable[[int, int], None] = lambda *_: None
    ) -> Index:
        """That of the topic as it is now, to its end: a receipt that is not seen would be a letter replayed twice."""
        index = cls()
        for letter in topic.letters(selection.since, told, to_the_end=True):
            if letter.is_receipt:
                index._receive(letter)
            elif letter.id.encode() not in index.replayed and selection.has(letter):
                index.letters.setdefault(letter.id, replace(letter, message=""))
        return index

    def _receive(self, receipt: Letter) -> None:
        self.letters.pop(receipt.id, None)
        self.replayed.add(receipt.id.encode())
        if receipt.kind == ITEM and receipt.result == DELIVERED:
            heapq.heappush(self.newest, (receipt.timestamp, receipt.partition, receipt.offset, receipt))
            if len(self.newest) > 2 * AT_ONCE:
                heapq.heappop(self.newest)

    @property
    def open(self) -> list[Letter]:
        """The letters, in the topic's order."""
        return sorted(self.letters.values(), key=lambda letter: (letter.timestamp, letter.partition, letter.offset))

"""What is in the topic, as far as memory needs it: letters once each, and which of them were replayed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crawlers.dead_letters.letter import Letter
    from crawlers.dead_letters.selection import Selection
    from crawlers.dead_letters.topic import LetterTopic


@dataclass(slots=True)
class Index:
    """The letters that are meant, by their ids, and the receipts of all."""

    letters: dict[str, Letter] = field(default_factory=dict)
    receipts: dict[str, Letter] = field(default_factory=dict)
    copies: int = 0
    """Letters that were written again, as their first writing was not confirmed."""

    @classmethod
    def read(
        cls, topic: LetterTopic, selection: Selection, told: Callable[[int, int], None] = lambda *_: None
    ) -> Index:
        """That of the topic as it is now, to its end: a receipt that is not seen would be a letter replayed twice."""
        index = cls()
        for letter in topic.letters(selection.since, told, to_the_end=True):
            if letter.is_receipt:
                index.receipts[letter.id] = letter
            elif letter.id in index.letters:
                index.copies += 1
            elif selection.has(letter):
                index.letters[letter.id] = replace(letter, message="")
        return index

    @property
    def open(self) -> list[Letter]:
        """Those of the letters that were not replayed, in the topic's order."""
        found = (letter for id_, letter in self.letters.items() if id_ not in self.receipts)
        return sorted(found, key=lambda letter: (letter.timestamp, letter.partition, letter.offset))

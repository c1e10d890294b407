"""How many letters there are, and of what."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from dataclasses import fields as dataclass_fields
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crawlers.dead_letters.letter import Letter
    from crawlers.dead_letters.selection import Selection


@dataclass(slots=True)
class Statistics:
    """Letters once each, however often they were written."""

    letters: int = 0
    replayed: int = 0
    at_limit: int = 0
    """Those that are open, and were sent back too often to be replayed."""
    copies: int = 0
    bytes: int = 0
    oldest: str = ""
    newest: str = ""
    stages: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    domains: Counter[str] = field(default_factory=Counter)
    results: Counter[str] = field(default_factory=Counter)

    @property
    def open(self) -> int:
        """Letters that were not replayed."""
        return self.letters - self.replayed

    @classmethod
    def of(cls, letters: Iterable[Letter], selection: Selection, most_replays: int) -> Self:
        """Those of the letters that are meant."""
        found, seen, at_limit = cls(), set[str](), set[str]()
        for letter in letters:
            if letter.is_receipt:
                if letter.id in seen:
                    found.replayed += 1
                    found.results[letter.result] += 1
                    at_limit.discard(letter.id)
            elif letter.id in seen:
                found.copies += 1
            elif selection.has(letter):
                seen.add(letter.id)
                found._add(letter)
                if letter.replays >= most_replays:
                    at_limit.add(letter.id)
        found.at_limit = len(at_limit)
        return found

    def to_json(self) -> str:
        """One object, on one line."""
        fields = {one.name: getattr(self, one.name) for one in dataclass_fields(self)}
        return json.dumps({**fields, "open": self.open})

    def _add(self, letter: Letter) -> None:
        self.letters += 1
        self.bytes += letter.size
        self.stages[letter.stage] += 1
        self.errors[letter.error] += 1
        self.domains[letter.domain] += 1
        self.oldest = min(self.oldest or letter.time, letter.time)
        self.newest = max(self.newest, letter.time)

"""What all workers have counted of one site in one crawl."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from crawlers.monitors.counting import COUNTED, FIELDS, UNREAD, ZERO_PRICE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from crawlers.changes.notes import Note

MOST_SAMPLED = 500
"""Products whose prices are kept, those with the lowest digests; lua/tallies.lua keeps as many."""
_DIGEST = 8

Price = tuple[Decimal, str]
"""(amount, currency)"""


@dataclass
class Tally:
    """Counts of products by the bits of their masks, prices of a sample of them by digest, and counts of requests."""

    masks: Counter[int] = field(default_factory=Counter)
    unread: int = 0
    """Products whose page was not sent, as it is what it was."""
    prices: dict[bytes, Price] = field(default_factory=dict)
    requests: Counter[str] = field(default_factory=Counter)
    """ended, dead and missing (dead, as there is no such page) make all; walls are attempts."""

    def add(self, note: Note) -> None:
        """Count what a note tells, as lua/tallies.lua does."""
        if note[0] == UNREAD:
            self.unread += 1
        elif note[0] == COUNTED:
            self.masks[note[4]] += 1  # type: ignore[index]
            self.sample([note[5]] if note[5] else [])  # type: ignore[list-item]

    def sample(self, members: Iterable[bytes]) -> None:
        """Take prices into the sample, and keep the lowest."""
        for member in members:
            amount, _, currency = member[_DIGEST:].decode().partition(" ")
            self.prices[member[:_DIGEST]] = Decimal(amount), currency
        if len(self.prices) > MOST_SAMPLED:
            self.prices = {digest: self.prices[digest] for digest in sorted(self.prices)[:MOST_SAMPLED]}

    def merge(self, counts: Mapping[bytes, bytes]) -> None:
        """Add what a shard has counted of products: C:site:<s>:counts of lua/tallies.lua."""
        for name, number in counts.items():
            if name == UNREAD.encode():
                self.unread += int(number)
            else:
                self.masks[int(name[1:])] += int(number)

    @property
    def read(self) -> int:
        """Products whose page was read."""
        return self.masks.total()

    @property
    def products(self) -> int:
        return self.read + self.unread

    def coverage(self) -> dict[str, float]:
        """The share of products that have each field, of those that were read; empty where none was."""
        if not self.read:
            return {}
        having = {name: self._with(1 << place) for place, name in enumerate(FIELDS)}
        return {name: round(number / self.read, 4) for name, number in having.items()}

    @property
    def zero_prices(self) -> int:
        """Products that cost nothing."""
        return self._with(ZERO_PRICE)

    def _with(self, bit: int) -> int:
        return sum(number for mask, number in self.masks.items() if mask & bit)

    @property
    def asked(self) -> int:
        """Requests that have come to an end."""
        return self.requests["ended"] + self.requests["dead"] + self.requests["missing"]

    @property
    def failures(self) -> int:
        """Requests that died, of other things than that there is no such page, and walls that were met."""
        return self.requests["dead"] + self.requests["walls"]

"""What comparisons of a pattern's pages say, and how sure that is. lua/routes.lua has the rules of `note`, too."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Literal, Self

Way = Literal["http", "browser"]
NEEDED = 0.2
"""Share of the comparisons with more by the browser from which on all pages are rendered."""
LATELY = 20.0
"""Comparisons from which on older ones count half."""
AT_ONCE = 1_000_000_000
"""Pages since the last comparison, where the next page is to be compared."""
_Z = 1.645
"""Of 90 %: one in twenty on either side."""


def bounds(hits: float, trials: float) -> tuple[float, float]:
    """Wilson's, of a share of which `hits` of `trials` were seen."""
    if not trials:
        return 0.0, 1.0
    share, z2 = hits / trials, _Z * _Z
    middle = share + z2 / (2 * trials)
    spread = _Z * sqrt(share * (1 - share) / trials + z2 / (4 * trials * trials))
    return max(0.0, (middle - spread) / (1 + z2 / trials)), min(1.0, (middle + spread) / (1 + z2 / trials))


@dataclass(slots=True)
class Evidence:
    """Of one pattern and look."""

    more: float = 0.0
    """Comparisons in which the browser's page had more than HTTP's."""
    same: float = 0.0
    since: int = 0
    """Pages since the last comparison that were not compared."""
    until: float = 0.0
    """End of the time in which somebody compares, in seconds on the clock of whoever keeps this."""

    @classmethod
    def read(cls, text: bytes) -> Self:
        """Of the value that lua/routes.lua keeps."""
        more, same, since, until = text.split()
        return cls(float(more), float(same), int(since), int(until) / 1000)

    @property
    def compared(self) -> float:
        return self.more + self.same

    @property
    def way(self) -> Way | None:
        """None while nothing was compared."""
        if not self.compared:
            return None
        return "browser" if self.more >= NEEDED * self.compared else "http"

    @property
    def bounds(self) -> tuple[float, float]:
        """Of the share of pages that need a browser."""
        return bounds(self.more, self.compared)

    def is_due(self, slips: float) -> bool:
        """Whether so many pages, or more, may have needed a browser since the last comparison, if HTTP was used."""
        return self.since >= slips and self.since * self.bounds[1] >= slips

    def note(self, *, is_more: bool) -> None:
        """Another comparison."""
        is_news = self.way is not None and self.way != ("browser" if is_more else "http")
        self.more += is_more
        self.same += not is_more
        self.since, self.until = AT_ONCE if is_news else 0, 0.0
        if self.compared > LATELY:
            self.more, self.same = self.more / 2, self.same / 2

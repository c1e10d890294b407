"""The report: one row per comparison, with its ratio and its budget."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from statistics import median
from typing import NamedTuple

_HEAD = ("what", "Seine", "beside it", "", "ratio", "budget", "")
_WORDS = (0, 3)
"""Columns."""


class Budget(NamedTuple):
    """What a figure may be."""

    most: float = inf
    least: float = -inf

    def __str__(self) -> str:
        if self.most == inf:
            return f"≥ {self.least:g}"
        return f"≤ {self.most:g}" if self.least == -inf else f"{self.least:g} to {self.most:g}"

    def holds(self, figure: float) -> bool:
        return self.least <= figure <= self.most


@dataclass(frozen=True, slots=True)
class Row:
    """A figure of Seine's beside another's. A budget is on the ratio where there is one, else on the figure."""

    what: str
    figure: float
    unit: str = ""
    beside: str = ""
    other: float | None = None
    ratio: float | None = None
    budget: Budget | None = None
    digits: int = 1

    @property
    def is_kept(self) -> bool | None:
        """Whether the budget is; None where there is none."""
        if self.budget is None:
            return None
        return self.budget.holds(self.figure if self.ratio is None else self.ratio)

    def cells(self) -> tuple[str, ...]:
        verdict = {None: "", True: "pass", False: "FAIL"}[self.is_kept]
        return (
            self.what,
            self._number(self.figure),
            self._number(self.other),
            self.beside,
            "" if self.ratio is None else f"{self.ratio:.3g}",
            str(self.budget or ""),
            verdict,
        )

    def _number(self, number: float | None) -> str:
        return "" if number is None else f"{number:,.{self.digits}f} {self.unit}".strip()


def beside(
    what: str,
    ours: Sequence[float],
    name: str,
    theirs: Sequence[float],
    unit: str = "",
    budget: Budget | None = None,
    digits: int = 1,
) -> Row:
    """The row of two sides that took turns: medians, and the median of the rounds' ratios."""
    ratio = median(a / b for a, b in zip(ours, theirs, strict=True))
    return Row(what, median(ours), unit, name, median(theirs), ratio, budget, digits)


def text(rows: Sequence[Row]) -> str:
    """For a terminal."""
    lines = [_HEAD, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
    return "\n".join("  ".join(_aligned(line, widths)).rstrip() for line in lines)


def _aligned(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Words to the left, numbers to the right."""
    cells = zip(line, widths, strict=True)
    return [cell.ljust(width) if column in _WORDS else cell.rjust(width) for column, (cell, width) in enumerate(cells)]


def markdown(rows: Sequence[Row]) -> str:
    """For docs/performance.md."""
    lines = [_HEAD, ("---",) * len(_HEAD), *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def in_turns(names: Sequence[str], number: int) -> list[str]:
    """The order of a round: each goes first as often as the others, whatever the machine does meanwhile."""
    order = list(names)
    random.Random(number).shuffle(order)
    return order

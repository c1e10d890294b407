"""What is known of one site's patterns: evidence by look, and the operator's word."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from crawlers.routing.evidence import AT_ONCE, Evidence, Way, bounds

if TYPE_CHECKING:
    from collections.abc import Iterable

Look = Literal["full", "bare", "static"]
LOOKS: tuple[Look, ...] = get_args(Look)
"""`static` is a page that nothing can change; one of them is noted as a comparison, as HTTP tells them from others."""
WORD = "word"
_MOST_PATTERNS = 500
_REST = "…"
"""The template of the URLs whose own would be one too many."""
_SURE = 0.5
"""Share of pages that surely need a browser, from which on HTTP is not asked first."""
_DIRECT = 20
"""Pages by the browser alone until one is asked for by HTTP first."""


class Op(NamedTuple):
    """Something to be known of a field, as lua/routes.lua takes it."""

    what: Literal["pages", "more", "same", "claim", "release", "word", "forget"]
    field: str
    """A look, or `word`, and a pattern; of `forget` the pattern."""
    value: str | int = 0
    """Pages; of a claim the milliseconds that it holds; the operator's word."""


def field_of(look: str, pattern: str) -> str:
    """Where evidence is kept."""
    return f"{look} {pattern}"


@dataclass(frozen=True, slots=True)
class PatternReport:
    """What is known of one pattern, to be shown."""

    pattern: str
    route: str
    """How its pages are asked for first, and why."""
    looks: dict[str, Evidence]
    """Of those that pages have had."""

    @property
    def told(self) -> dict[str, Any]:
        """As JSON."""
        looks = {
            look: {
                "compared": one.compared,
                "more": one.more,
                "needs_browser": [round(bound, 3) for bound in one.bounds],
                "pages_since": min(one.since, AT_ONCE),
            }
            for look, one in self.looks.items()
        }
        return {"pattern": self.pattern, "route": self.route, "looks": looks}


@dataclass(slots=True)
class SiteKnowledge:
    """As this process has it."""

    evidence: dict[str, Evidence] = field(default_factory=dict)
    """By look and pattern."""
    words: dict[str, Way] = field(default_factory=dict)
    """The operator's, by pattern."""
    _patterns: set[str] = field(default_factory=set)

    def named(self, pattern: str) -> str:
        """`pattern`, or what stands for the many where there are too many."""
        if pattern not in self._patterns:
            if len(self._patterns) >= _MOST_PATTERNS:
                return f"{pattern.partition(' ')[0]} {_REST}"
            self._patterns.add(pattern)
        return pattern

    def of(self, pattern: str, look: Look) -> Evidence:
        """What comparisons have said; nothing yet, where there were none."""
        return self.evidence.get(field_of(look, pattern)) or Evidence()

    def way_at_once(self, pattern: str) -> Way:
        """How a page is asked for first: by the browser where most pages of its pattern surely need it."""
        if pattern in self.words:
            return self.words[pattern]
        found = [self.of(pattern, look) for look in LOOKS]
        if any(one.way == "http" for one in found):
            return "http"
        lower, _ = bounds(sum(one.more for one in found), sum(one.compared for one in found))
        return "browser" if lower >= _SURE and max(one.since for one in found) < _DIRECT else "http"

    def main_look(self, pattern: str) -> Look:
        """That of most of its pages that need a browser."""
        return max(LOOKS, key=lambda look: self.of(pattern, look).more)

    def report(self, pattern: str) -> PatternReport:
        """To be shown."""
        looks: dict[str, Evidence] = {
            look: one for look in LOOKS if (one := self.evidence.get(field_of(look, pattern))) is not None
        }
        if pattern in self.words:
            return PatternReport(pattern, f"{self.words[pattern]}, as was said", looks)
        needy = [look for look, one in looks.items() if one.way == "browser"]
        first: str = self.way_at_once(pattern)
        if first == "http" and needy:
            first = f"http, then browser where {' or '.join(needy)}"
        return PatternReport(pattern, first, looks)

    def reports(self) -> list[PatternReport]:
        """Of all patterns."""
        return [self.report(pattern) for pattern in sorted(self._patterns | self.words.keys())]

    def apply(self, op: Op) -> bool:
        """Take it in; of a claim, whether it is granted."""
        if op.what == "word":
            self.words.pop(op.field, None)
            if op.value:
                self.words[op.field] = op.value  # type: ignore[assignment]
            return True
        if op.what == "forget":
            for look in LOOKS:
                self.evidence.pop(field_of(look, op.field), None)
            return True
        one = self.evidence.setdefault(op.field, Evidence())
        if op.what == "pages":
            one.since += int(op.value)
        elif op.what == "claim":
            if one.until > monotonic():
                return False
            one.until = monotonic() + int(op.value) / 1000
        elif op.what == "release":
            one.until = 0.0
        else:
            one.note(is_more=op.what == "more")
        return True

    @classmethod
    def read(cls, flat: Iterable[bytes], now: int) -> SiteKnowledge:
        """Of the hash that lua/routes.lua keeps, field and value in turn; `now` is Redis's clock in milliseconds."""
        found, values, ahead = cls(), iter(flat), monotonic() - now / 1000
        for name, value in zip(values, values, strict=True):
            what, _, pattern = name.decode().partition(" ")
            found._patterns.add(pattern)
            if what == WORD:
                found.words[pattern] = value.decode()  # type: ignore[assignment]
            else:
                found.evidence[name.decode()] = one = Evidence.read(value)
                one.until += ahead
        return found

"""What is known of a site's routes, as a table; of one URL's, as a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from crawlers.frontier.display import table
from crawlers.routing.evidence import AT_ONCE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from crawlers.routing.evidence import Evidence
    from crawlers.routing.knowledge import PatternReport


def routes(found: Sequence[PatternReport]) -> RenderableType:
    """A line for each pattern and look."""
    if not found:
        return Text("nothing is known yet")
    rows = table("pattern", "route", "look", "compared", "more by browser", "need one", "pages since", text=3)
    for one in found:
        rows.add_row(one.pattern, one.route, "", "", "", "", "")
        for look, evidence in one.looks.items():
            rows.add_row("", "", look, *(_cells(evidence) if look != "static" else ("", "", "", "")))
    return rows


def line(one: PatternReport) -> str:
    """In a few words."""
    looks = [f"{look}: {_words(evidence)}" for look, evidence in one.looks.items() if look != "static"]
    return f"{one.pattern} -> {'; '.join([one.route, *looks])}"


def _cells(evidence: Evidence) -> tuple[str, ...]:
    since = "next is compared" if evidence.since >= AT_ONCE else f"{evidence.since:,}"
    return f"{evidence.compared:g}", f"{evidence.more:g}", _share(evidence), since


def _words(evidence: Evidence) -> str:
    if not evidence.compared:
        return "not compared yet"
    return f"more by browser in {evidence.more:g} of {evidence.compared:g}, {_share(evidence)} need one"


def _share(evidence: Evidence) -> str:
    """Of pages that need a browser, as sure as that is."""
    lower, upper = evidence.bounds
    return f"{100 * lower:.0f}-{100 * upper:.0f} %"

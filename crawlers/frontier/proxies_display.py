"""How proxies do, and what their tiers have spent, as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from crawlers.frontier.display import duration, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from crawlers.proxies.report import ProxyReport, TierReport

_MEGABYTE = 1_000_000


def proxies(found: Sequence[ProxyReport], known: int, tiers: Sequence[TierReport]) -> RenderableType:
    """A line for each tier; a line for each proxy and domain, of so many."""
    parts: list[RenderableType] = [_tiers(tiers), Text("")] if tiers else []
    if not found:
        return Group(*parts, Text("no proxy has been tried lately"))
    rows = table("proxy", "tier", "domain", "success", "of", "banned", "latency", "cools for", text=3)
    for one in found:
        tried = one.ok + one.failed + one.banned
        rows.add_row(
            one.label,
            one.tier or "not configured",
            one.domain,
            f"{100 * one.success:.0f} %" if one.success is not None else "",
            f"{tried:.0f}",
            f"{one.banned:.0f}" if one.banned else "",
            f"{one.latency:.2f} s" if one.latency else "",
            Text(duration(one.cools_for), "red") if one.cools_for else "",
        )
    return Group(*parts, rows, Text(f"  {len(found):,} of {known:,}"))


def _tiers(found: Sequence[TierReport]) -> RenderableType:
    rows = table("tier", "proxies", "MB today", "budget")
    for one in found:
        budget = f"{one.budget / _MEGABYTE:,.0f} MB" if one.budget else "none"
        rows.add_row(
            one.tier,
            f"{one.proxies:,}",
            f"{one.spent / _MEGABYTE:,.1f}",
            Text(f"{budget}, spent", "red") if one.is_spent else budget,
        )
    return rows

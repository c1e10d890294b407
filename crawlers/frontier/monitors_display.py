"""What the monitors say, as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from crawlers.frontier.display import table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import RenderableType

    from crawlers.monitors.result import SiteResult

_COLUMNS = ("products", "price", "image", "errors", "median price", "lasted")
_STYLES = {"ok": "green", "warning": "yellow", "error": "red"}


def sites(found: Sequence[SiteResult]) -> RenderableType:
    """A line for each site, and what is wrong with it below."""
    if not found:
        return Text("no crawl of a site was judged yet")
    rows = table("site", "status", "crawl", "ended", *_COLUMNS, text=4)
    for one in found:
        rows.add_row(one.site, _status(one), one.crawl_id, one.ended, *_cells(one))
    return Group(rows, *(_finding(one.site, finding) for one in found for finding in one.findings))


def history(found: Sequence[SiteResult]) -> RenderableType:
    """A line for each crawl of a site, the newest first, and what was wrong with that one."""
    rows = table("crawl", "status", "ended", *_COLUMNS, text=3)
    for one in found:
        rows.add_row(one.crawl_id, _status(one), one.ended, *_cells(one))
    return Group(rows, *(_finding(one.crawl_id, finding) for one in found for finding in one.findings))


def _status(one: SiteResult) -> Text:
    return Text(one.status, _STYLES[one.status])


def _cells(one: SiteResult) -> Iterable[str]:
    price = f"{one.prices.median:,.2f} {one.prices.currency}" if one.prices.median else ""
    shares = (f"{one.coverage[name]:.0%}" if one.coverage else "" for name in ("price", "images"))
    return f"{one.products:,}", *shares, f"{one.error_rate:.1%}", price, f"{one.seconds:,.0f} s"


def _finding(where: str, finding: object) -> Text:
    level, monitor, message = (getattr(finding, name) for name in ("level", "monitor", "message"))
    return Text(f"  {where}  {level}  {monitor}: {message}", _STYLES[level])

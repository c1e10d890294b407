"""What the commands print: tables and lines on a terminal, the same without colours in a pipe."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import RenderableType

    from crawlers.frontier.politeness import Politeness
    from crawlers.frontier.whereabouts import Trace

STATES = {"running": "green", "paused": "yellow", "draining": "yellow", "cancelled": "red"}
POLITENESS = ("in flight", "delay", "next in", "circuit", "slow-down", "latency")
_WIDTH_OF_A_PIPE = 160


def console(*, stderr: bool = False) -> Console:
    """Where a command writes to."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, width=None if stream.isatty() else _WIDTH_OF_A_PIPE, highlight=False, markup=False)


def put(what: RenderableType) -> None:
    """Print it; in a pipe, without the blanks that fill the lines of a table."""
    screen = console()
    if screen.is_terminal:
        screen.print(what)
        return
    with screen.capture() as captured:
        screen.print(what)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()), flush=True)


# --- Answers


def domains(found: Sequence[Politeness], known: int) -> RenderableType:
    """The politeness of domains, of so many."""
    rows = table("domain", *POLITENESS)
    for one in found:
        rows.add_row(one.domain, *politeness_cells(one))
    return Group(rows, Text(f"  {len(found):,} of {known:,} domains")) if found else Text("no domain is known")


def politeness_cells(one: Politeness) -> Iterable[str | Text]:
    """The cells below the columns POLITENESS."""
    circuit = one.circuit if not one.failures else f"{one.circuit}, {one.failures} failures"
    return (
        f"{one.in_flight}/{one.concurrency}",
        f"{one.delay:.2f} s",
        f"{one.opens_in:.1f} s" if one.opens_in else "",
        Text(circuit, "" if one.circuit == "closed" else "red"),
        f"{one.slow_down:g}x" if one.slow_down > 1 else "",
        f"{one.latency:.2f} s" if one.latency else "",
    )


def crawls(found: list[dict[str, Any]]) -> RenderableType:
    """A list of crawls."""
    if not found:
        return Text("no crawl yet")
    rows = table("crawl", "state", "opened", "closed", "known", "open", "delivered", "dead", text=4)
    rows.add_column("about", overflow="ellipsis", no_wrap=True)
    for one in found:
        numbers = (f"{one[name]:,}" for name in ("known", "open", "delivered", "dead"))
        state = Text(one["state"], STATES.get(one["state"], ""))
        times = clock(one["opened"]), clock(one["closed"] or "")
        rows.add_row(one["crawl"], state, *times, *numbers, about(one["definition"]))
    return rows


def traces(url: str, crawl: str | None, found: Sequence[Trace], kept: int) -> RenderableType:
    """What Redis knows of `url`; without a crawl, it knows nothing of any."""
    lines = [("crawl", crawl or "not in Redis, or no more")]
    for one in found:
        lines.append(("unfiltered" if one.unfiltered else "request", _fate(one, kept)))
        lines += [("domain", one.domain)] if one.domain else []
        lines += [("", f"attempt {number} failed: {reason}") for number, reason in enumerate(one.tries, 1)]
    if not found and crawl:
        lines.append(("request", "not known in this crawl: no fetched page links to it, or its link is not followed"))
    return Group(Text(url), report(lines))


def _fate(one: Trace, kept: int) -> str:
    if one.fate == "pending":
        return f"pending, {one.before:,} before it in its domain's queue" if one.before is not None else "pending"
    if one.fate == "leased":
        return f"leased by {one.worker}"
    if one.fate == "delayed":
        return f"delayed, tried again in {one.due_in or 0:,.1f} s"
    if one.fate == "forgotten":
        reasons = "over a page limit, not due, cancelled, or imported"
        return f"known, its outcome not kept: older than {duration(kept)}, {reasons}"
    reason = f": {one.reason}" if one.reason else ""
    return f"{one.fate}{reason}, {duration(one.ago or 0)} ago, attempt {one.attempts}"


# --- Parts


def duration(seconds: float) -> str:
    """Such as 3 min 20 s."""
    for unit, size, smaller, part in (("d", 86_400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} {int(seconds % size // part)} {smaller}"
    return f"{seconds:.0f} s"


def about(definition: dict[str, Any]) -> str:
    """A crawl's definition in a few words."""
    urls = definition.get("urls")
    count = urls["count"] if isinstance(urls, dict) else len(urls or ())
    parts = [f"sites {', '.join(definition['sites'])}"] if definition.get("sites") else []
    parts += [f"{count:,} URL{'s' if count > 1 else ''}"] if count else []
    parts += [definition["source"]] if definition.get("source") else []
    parts += [] if definition.get("follow") else ["links not followed"]
    return ", ".join(parts)


def clock(moment: str) -> str:
    """A moment of ISO 8601 as people read it; UTC."""
    return moment.replace("T", " ").removesuffix("Z")


def report(lines: Iterable[tuple[str, str | Text]]) -> Table:
    """Lines with a name each, '' where it is the one before; what is too long for the screen goes on below."""
    rows = Table.grid(padding=(0, 2))
    rows.add_column(width=12, style="bold")
    rows.add_column()
    for name, text in lines:
        rows.add_row(f"  {name}", text)
    return rows


def table(*columns: str, text: int = 1) -> Table:
    """The first `text` columns hold text, the others numbers."""
    rows = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for number, name in enumerate(columns):
        justify: Any = "left" if number < text else "right"
        rows.add_column(name, justify=justify, no_wrap=True, overflow="ellipsis" if number == 0 else "fold")
    return rows

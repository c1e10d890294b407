"""How a crawl's status looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from crawlers.frontier import display
from crawlers.frontier.report import LEFT, RIGHT

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from crawlers.frontier.report import Status


def status_screen(one: Status) -> RenderableType:
    """A crawl's status."""
    parts: list[RenderableType] = [_heading(one), Text("  " + display.about(one.definition)), Text("")]
    lines: list[tuple[str, str | Text]]
    lines = [("requests", "their numbers are no longer kept")] if one.expired else _equation(one)
    lines += [("seeding", text) for text in _seeding(one)]
    lines += [("waiting", text) for text in _waiting(one)]
    parts.append(display.report(lines))
    if one.top:
        parts += [Text(""), _domains_of(one)]
    if one.workers:
        parts += [Text(""), _workers(one)]
    elif one.state in display.STATES:
        parts += [Text(""), Text("  no worker is at it", "yellow")]
    if one.also_open:
        parts += [Text(""), Text(f"  also open: {', '.join(one.also_open[:10])}")]
    return Group(*parts)


def _heading(one: Status) -> Text:
    text = Text.assemble(f"crawl {one.crawl} of {one.spider}: ", (one.state, display.STATES.get(one.state, "bold")))
    ending = f", closed {display.clock(one.closed)}" if one.closed else ""
    return text.append(f", opened {display.clock(one.opened)}{ending}, {display.duration(one.seconds)}")


def _equation(one: Status) -> list[tuple[str, str | Text]]:
    left = " + ".join(f"{one.left[term]:,} {term}" for term in LEFT)
    right = " + ".join(f"{one.right[term]:,} {term}" for term in RIGHT)
    verdict = ("adds up", "green") if one.balanced else (f"does not add up: {one.accounted - one.known:+,}", "bold red")
    rates = [f"{one.per_second[name]:,.1f}/s {name}" for name in ("now", "average") if name in one.per_second]
    return [
        ("requests", f"{one.known:,} = {left}"),
        ("", Text.assemble(f"{one.accounted:,} = {right}: ", verdict)),
        *([("delivered", _reasons(one.right["delivered"], one.delivered))] if one.delivered else []),
        ("filtered", _reasons(one.right["filtered"], one.filtered)),
        ("dead", _reasons(one.right["dead"], one.dead)),
        ("beside", ", ".join(f"{n:,} {term}" for term, n in one.beside.items())),
        ("outcomes", f"{one.settled:,}: {', '.join(rates)}"),
    ]


def _reasons(total: int, reasons: dict[str, int]) -> str:
    named = ", ".join(f"{n:,} {reason}" for reason, n in sorted(reasons.items(), key=lambda item: -item[1]))
    return f"{total:,}: {named}" if named else f"{total:,}"


def _seeding(one: Status) -> list[str]:
    by = {"open": "its first worker's `start()`", "list": "a list"}.get(one.seeding)
    lines = [f"not done: {by}"] if by else []
    for noted in one.lists:
        end = "all in" if noted["done"] else "not all in: the command that brings it goes on with it"
        lines.append(f"{noted['source']}: {noted['lines']:,} lines, {noted['refused']:,} refused, {end}")
    return lines


def _waiting(one: Status) -> list[str]:
    lines = [f"{one.letters:,} dead letters to be written, by a worker with Kafka"] if one.letters else []
    if one.oldest is not None:
        lines.append(f"the oldest request without an outcome for {display.duration(one.oldest)}")
    if one.longest_due is not None and one.domains:
        lines.append(f"{one.domains:,} domains for their turn; one could have been asked for {one.longest_due:,.1f} s")
    if one.next_retry is not None:
        lines.append(f"{one.right['delayed']:,} retries, the next in {one.next_retry:,.1f} s")
    return lines


def _domains_of(one: Status) -> Table:
    rows = display.table("domain", "queued", "leased", *display.POLITENESS)
    for domain in one.top:
        politeness = domain.politeness
        rows.add_row(
            politeness.domain, f"{domain.queued:,}", f"{domain.leased:,}", *display.politeness_cells(politeness)
        )
    return rows


def _workers(one: Status) -> Table:
    rows = display.table("worker", "pid", "leases", "heartbeat")
    for worker in one.workers:
        heard = f"{worker.heartbeat:.0f} s ago" if worker.alive else Text("silent: its leases return", "red")
        rows.add_row(worker.name, str(worker.pid), f"{worker.leases:,}", heard)
    return rows

"""What `scrapy dlq` prints. What pages and sites wrote must not steer a terminal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.text import Text

from crawlers.frontier import display

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable

    from rich.console import RenderableType

    from crawlers.dead_letters.letter import Letter
    from crawlers.dead_letters.statistics import Statistics

_TOP = 10
_SHORT = 12
"""Characters of an id that tell letters apart; `show` takes its beginning."""


def letters(found: list[tuple[Letter, str]]) -> RenderableType:
    """A line for each letter, with the result of its replay."""
    if not found:
        return Text("no dead letters")
    rows = display.table("letter", "time", "stage", "error", "attempt", text=4)
    for column in ("url", "replayed"):
        rows.add_column(column, overflow="ellipsis", no_wrap=True)
    for one, result in found:
        cells = (one.id[:_SHORT], display.clock(one.time), one.stage, one.error, str(one.attempt), one.url, result)
        rows.add_row(*map(printable, cells))
    return rows


def letter(one: Letter, result: str, value: bytes | None) -> RenderableType:
    """One letter."""
    request = f"{one.request_id}, death {one.death}, sent back {one.replays} times before" if one.request_id else ""
    lines = [
        ("stage", one.stage),
        ("error", one.error),
        ("", one.message if one.message != one.error else ""),
        ("url", one.url),
        ("attempt", str(one.attempt)),
        ("crawl", f"{one.crawl} of {one.spider}"),
        ("request", request),
        ("record", one.record_id),
        ("written", f"{display.clock(one.time)}, partition {one.partition}, offset {one.offset}"),
        ("replayed", result or "no"),
        ("value", f"{one.size:,} bytes, {one.content_type}"),
        ("", f"claimed: {_get(one.claim)}" if one.claim else ""),
        ("screenshot", f"{_get(one.screenshot)} -o wall.png" if one.screenshot else ""),
    ]
    told = display.report([(name, printable(text)) for name, text in lines if text])
    body = value.decode("utf-8", "backslashreplace") if value is not None else "the topic has deleted it"
    return Group(Text(f"{one.kind} {one.id}"), told, Text(""), Text(printable(_indented(body), keep="\n")))


def statistics(found: Statistics) -> RenderableType:
    """Numbers of letters."""
    if not found.letters:
        return Text("no dead letters")
    replayed = f"{found.replayed:,} replayed{_listed(found.results)}"
    limit = f", {found.at_limit:,} of them sent back too often (DLQ_REPLAY_TIMES)" if found.at_limit else ""
    lines = [
        ("letters", f"{found.letters:,}, {found.bytes:,} bytes; written again: {found.copies:,}"),
        ("", f"{replayed}; {found.open:,} open{limit}"),
        ("written", f"{display.clock(found.oldest)} to {display.clock(found.newest)}"),
        ("stages", _listed(found.stages)[2:]),
        ("errors", _listed(found.errors)[2:]),
        ("domains", _listed(found.domains)[2:]),
    ]
    return display.report([(name, printable(text)) for name, text in lines])


def readable(value: bytes | None) -> Any:
    """A letter's value: JSON, or text."""
    try:
        return json.loads(value or b"null")
    except ValueError:
        return (value or b"").decode("utf-8", "backslashreplace")


def printable(text: str, keep: str = "") -> str:
    """Text fit for a terminal."""
    return "".join(char if char.isprintable() or char in keep else " " for char in text)


def _get(uri: str) -> str:
    return f"scrapy claims get {uri.rpartition('/')[2]}"


def _indented(text: str) -> str:
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        return text


def _listed(counts: Counter[str]) -> str:
    """`: 3 one, 2 other`, the most first."""
    top: Iterable[tuple[str, int]] = counts.most_common(_TOP)
    more = f", and {len(counts) - _TOP:,} more" if len(counts) > _TOP else ""
    named = ", ".join(f"{number:,} {name or 'without'}" for name, number in top)
    return f": {named}{more}" if counts else ""

"""`scrapy records tail`."""

from __future__ import annotations

import sys
from itertools import islice
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from crawlers.exceptions import UserError
from crawlers.records import RecordReader, rows, to_json

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

_NEWEST = 10


def tail(settings: Any, args: list[str], opts: argparse.Namespace) -> int:
    """Show the newest records of a topic. Reads with a consumer of its own, in no group: nobody's offsets move."""
    number = _NEWEST if opts.number is None else opts.number
    if number < 0:
        raise UserError(f"-n {number}: expected 0 or more")
    with RecordReader(settings, opts.topic or settings["KAFKA_TOPIC_PRODUCTS"]) as reader:
        records = reader.tail(number, follow=opts.follow)
        if opts.format == "json":
            for record in records:
                print(to_json(record), flush=True)
        else:
            _show(records, number)
    return 0


def _show(records: Iterable[dict[str, Any]], number: int) -> None:
    remaining = iter(records)
    _table(list(islice(remaining, number)), header=True)
    for record in remaining:
        _table([record], header=False)


def _table(records: list[dict[str, Any]], *, header: bool) -> None:
    console = Console(width=None if sys.stdout.isatty() else 160)
    columns, lines = rows(records)
    if header and not records:
        console.print("no records yet")
        return
    table = Table(show_header=header, box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="ellipsis", no_wrap=True, justify="right" if column == "price" else "left")
    for line in lines:
        table.add_row(*line)
    console.print(table)

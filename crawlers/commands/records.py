"""`scrapy records tail`: the newest records of a topic, decoded."""

from __future__ import annotations

import sys
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

from scrapy.commands import ScrapyCommand
from scrapy.exceptions import UsageError

from crawlers.exceptions import SeineError
from crawlers.records import RecordReader, rows, to_json

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable


class Command(ScrapyCommand):
    """Reads with a consumer of its own, in no group: it disturbs nobody's offsets."""

    requires_project = True
    requires_crawler_process = False
    default_settings: ClassVar[dict[str, Any]] = {"LOG_ENABLED": False}

    def syntax(self) -> str:
        return "tail [--topic TOPIC] [-n N] [--follow] [--format table|json]"

    def short_desc(self) -> str:
        return "Show the newest records of a topic, decoded"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        super().add_options(parser)
        assert self.settings is not None
        topic = self.settings["KAFKA_TOPIC_PRODUCTS"]
        parser.add_argument("--topic", default=topic, help=f"the topic to read (default: {topic})")
        parser.add_argument("-n", "--number", type=int, default=10, metavar="N", help="how many (default: 10)")
        parser.add_argument("--follow", "-f", action="store_true", help="go on with what arrives, until Ctrl-C")
        parser.add_argument("--format", choices=("table", "json"), default="table")

    def run(self, args: list[str], opts: argparse.Namespace) -> None:
        if args != ["tail"]:
            raise UsageError("expected: scrapy records tail")
        if opts.number < 0:
            raise UsageError(f"-n {opts.number}: expected 0 or more", print_help=False)
        try:
            with RecordReader(self.settings, opts.topic) as reader:
                self._show(reader.tail(opts.number, follow=opts.follow), opts)
        except SeineError as error:
            print(f"seine: {error}", file=sys.stderr)
            self.exitcode = error.exit_code
        except KeyboardInterrupt:
            pass
        except BrokenPipeError:
            sys.stderr.close()

    def _show(self, records: Iterable[dict[str, Any]], opts: argparse.Namespace) -> None:
        if opts.format == "json":
            for record in records:
                print(to_json(record), flush=True)
            return
        remaining = iter(records)
        self._table(list(islice(remaining, opts.number)), header=True)
        for record in remaining:
            self._table([record], header=False)

    def _table(self, records: list[dict[str, Any]], *, header: bool) -> None:
        from rich.console import Console
        from rich.table import Table

        console = Console(width=None if sys.stdout.isatty() else 160)
        columns, lines = rows(records)
        if header and not records:
            console.print("no records yet")
            return
        table = Table(show_header=header, box=None, pad_edge=False)
        for column in columns:
            table.add_column(
                column, overflow="ellipsis", no_wrap=True, justify="right" if column == "price" else "left"
            )
        for line in lines:
            table.add_row(*line)
        console.print(table)

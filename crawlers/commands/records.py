"""`scrapy records tail | forget`: the newest records of a topic, decoded; a product, forgotten."""

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

_OF_TAIL = {"topic": None, "number": 10, "follow": False, "format": "table"}
_OF_FORGET = {"url": None, "dry_run": False, "yes": False}


class Command(ScrapyCommand):
    """Reads with a consumer of its own, in no group: it disturbs nobody's offsets."""

    requires_project = True
    requires_crawler_process = False
    default_settings: ClassVar[dict[str, Any]] = {"LOG_ENABLED": False}

    def syntax(self) -> str:
        return "tail [--topic TOPIC] [-n N] [--follow] [--format table|json] | forget KEY|--url URL [--dry-run] [--yes]"

    def short_desc(self) -> str:
        return "Show the newest records of a topic, decoded, or forget a product"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        super().add_options(parser)
        assert self.settings is not None
        topic = self.settings["KAFKA_TOPIC_PRODUCTS"]
        parser.add_argument("--topic", help=f"tail: the topic to read (default: {topic})")
        parser.add_argument("-n", "--number", type=int, default=10, metavar="N", help="tail: how many (default: 10)")
        parser.add_argument("--follow", "-f", action="store_true", help="tail: go on with what arrives, until Ctrl-C")
        parser.add_argument("--format", choices=("table", "json"), default="table", help="tail: how to show them")
        parser.add_argument("--url", metavar="URL", help="forget: the products that were read from this page")
        parser.add_argument("--dry-run", action="store_true", help="forget: say what would be done, and do nothing")
        parser.add_argument("--yes", action="store_true", help="forget: do not ask")

    def run(self, args: list[str], opts: argparse.Namespace) -> None:
        try:
            match args:
                case ["tail"]:
                    _refuse_options(opts, _OF_FORGET, "forget")
                    self._tail(opts)
                case ["forget", *keys]:
                    _refuse_options(opts, _OF_TAIL, "tail")
                    self._forget(keys, opts)
                case _:
                    raise UsageError(f"expected: scrapy records {self.syntax()}")
        except SeineError as error:
            print(f"seine: {error}", file=sys.stderr)
            self.exitcode = error.exit_code
        except KeyboardInterrupt:
            self.exitcode = 0 if args == ["tail"] else 130
        except BrokenPipeError:
            sys.stderr.close()

    def _forget(self, keys: list[str], opts: argparse.Namespace) -> None:
        from crawlers.forgetting.command import forget

        self.exitcode = forget(self.settings, keys, opts)

    def _tail(self, opts: argparse.Namespace) -> None:
        assert self.settings is not None
        if opts.number < 0:
            raise UsageError(f"-n {opts.number}: expected 0 or more", print_help=False)
        with RecordReader(self.settings, opts.topic or self.settings["KAFKA_TOPIC_PRODUCTS"]) as reader:
            self._show(reader.tail(opts.number, follow=opts.follow), opts)

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


def _refuse_options(opts: argparse.Namespace, defaults: dict[str, Any], verb: str) -> None:
    """UsageError where an option of the other verb is given."""
    for name, default in defaults.items():
        if getattr(opts, name) != default:
            raise UsageError(f"--{name.replace('_', '-')} belongs to scrapy records {verb}", print_help=False)

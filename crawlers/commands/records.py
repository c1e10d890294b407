"""`scrapy records`: the newest records of a topic, decoded; a product, forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from crawlers.verbs import Verb, VerbCommand

if TYPE_CHECKING:
    import argparse


class Command(VerbCommand):
    """Exit code 0: done. 1: a service fails, or nothing was forgotten. 2: a mistake."""

    name = "records"
    endless = "follow"
    verbs: ClassVar[dict[str, Verb]] = {
        "tail": Verb(
            "crawlers.tailing.tail",
            "tail [--topic T] [-n N] [--follow] [--format table|json]",
            "topic number follow format",
        ),
        "forget": Verb(
            "crawlers.forgetting.command.forget",
            "forget KEY… | forget --url URL [--dry-run] [--yes]",
            "url dry_run yes",
            None,
        ),
    }

    def short_desc(self) -> str:
        return "Show the newest records of a topic, decoded, or forget a product"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        super().add_options(parser)
        add = parser.add_argument
        add("--topic", metavar="T", help="tail: the topic to read (default: that of the products)")
        add("-n", "--number", type=int, metavar="N", help="tail: how many (default: 10)")
        add("--follow", "-f", action="store_true", help="tail: go on with what arrives, until Ctrl-C")
        add("--format", choices=("table", "json"), help="tail: how to show them (default: table)")
        add("--url", metavar="URL", help="forget: the products that were read from this page")
        add("--dry-run", action="store_true", help="forget: say what would be done, and do nothing")
        add("--yes", action="store_true", help="forget: do not ask")

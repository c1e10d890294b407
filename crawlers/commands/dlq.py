"""`scrapy dlq`: the dead letters, and what an operator does about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from crawlers.verbs import Verb, VerbCommand

if TYPE_CHECKING:
    import argparse

_WHICH = "stage error domain since"
_WHICH_USAGE = "[--stage S] [--error E] [--domain D] [--since T]"


class Command(VerbCommand):
    """Exit code 0: done. 1: Kafka or Redis cannot be used, or there is no answer. 2: what was asked for is wrong."""

    name = "dlq"
    asks_redis = True
    positive = ("limit",)
    verbs: ClassVar[dict[str, Verb]] = {
        "list": Verb(
            "crawlers.dead_letters.verbs.look.list_letters",
            f"list {_WHICH_USAGE} [--limit N] [--json]",
            f"{_WHICH} limit json",
        ),
        "show": Verb("crawlers.dead_letters.verbs.look.show", "show ID [--json]", "json", 1),
        "stats": Verb("crawlers.dead_letters.verbs.look.stats", f"stats {_WHICH_USAGE} [--json]", f"{_WHICH} json"),
        "replay": Verb(
            "crawlers.dead_letters.verbs.again.replay",
            f"replay {_WHICH_USAGE} [--limit N] [--crawl ID] [--dry-run]",
            f"{_WHICH} limit crawl dry_run",
        ),
    }

    def short_desc(self) -> str:
        return "Look at dead letters, and replay them"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        super().add_options(parser)
        add = parser.add_argument
        add("--stage", metavar="S", help="only those of a stage: validation, download, …")
        add("--error", metavar="E", help="only those of an error: InvalidItem, 'http 404', …")
        add("--domain", metavar="D", help="only those of a domain")
        add("--since", metavar="T", help="only those written since: 90m, 12h, 7d, or 2026-01-31T12:00")
        add("--limit", type=int, metavar="N", help="list: the newest N (default: 20); replay: the oldest N")
        add("--crawl", metavar="ID", help="replay: where requests go whose own crawl is gone")
        add("--dry-run", action="store_true", help="replay: tell what it would look at")
        add("--json", action="store_true", help="list, show, stats: JSON, one object a line")

"""`scrapy claims`: the store of large fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from crawlers.verbs import Verb, VerbCommand

if TYPE_CHECKING:
    import argparse


class Command(VerbCommand):
    """Exit code 0: done, or all is well. 1: a claim is missing or corrupt, or a service fails. 2: a mistake."""

    name = "claims"
    verbs: ClassVar[dict[str, Verb]] = {
        "get": Verb("crawlers.claims.verbs.get", "get URI|SHA256 [-o FILE] [--stored]", "output stored", 1),
        "verify": Verb("crawlers.claims.verbs.verify", "verify [--topic T]…", "topic"),
        "gc": Verb("crawlers.claims.verbs.gc", "gc [--topic T]… [--dry-run] [--yes]", "topic dry_run yes"),
    }

    def short_desc(self) -> str:
        return "Read, check and clean up what records keep outside of themselves"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        super().add_options(parser)
        add = parser.add_argument
        add("-o", "--output", metavar="FILE", help="get: write here, not to stdout")
        add("--stored", action="store_true", help="get: the bytes as stored, not decompressed")
        add("--dry-run", action="store_true", help="gc: say what would be deleted, and delete nothing")
        add("--yes", action="store_true", help="gc: delete without asking")
        add(
            "--topic",
            action="append",
            help="verify, gc: one more topic whose records refer to this store, beside products and dead letters",
        )

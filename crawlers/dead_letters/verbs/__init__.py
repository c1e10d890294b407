"""The verbs of `scrapy dlq`: coroutines of the settings, their arguments and the options that return an exit code.

Their modules are imported when one is run: Scrapy imports this one with every command.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crawlers.exceptions import UserError

if TYPE_CHECKING:
    import argparse

_WHICH = "stage error domain since"
_WHICH_USAGE = "[--stage S] [--error E] [--domain D] [--since T]"
OPTIONS = (*_WHICH.split(), "limit", "dry_run", "crawl", "json")
"""Those that not every verb takes."""


@dataclass(frozen=True, slots=True)
class Verb:
    """One of them, and what it takes."""

    function: str
    """Where it is, below this package."""
    usage: str
    options: str
    """Those of the command's options that it takes, by their names."""
    arguments: int = 0

    def check(self, args: list[str], opts: argparse.Namespace) -> None:
        """UserError where it was given what it does not take."""
        given = {name for name in OPTIONS if getattr(opts, name) not in (None, False)}
        if odd := sorted(given - {*self.options.split()}):
            raise UserError(f"--{odd[0].replace('_', '-')} does not belong here. Expected: scrapy dlq {self.usage}")
        if len(args) != self.arguments:
            raise UserError(f"expected: scrapy dlq {self.usage}")
        if opts.limit is not None and opts.limit < 1:
            raise UserError(f"--limit {opts.limit}: expected 1 or more")

    def run(self, settings: Any, args: list[str], opts: argparse.Namespace) -> int:
        """Its exit code."""
        from scrapy.utils.misc import load_object

        return asyncio.run(load_object(f"{__name__}.{self.function}")(settings, args, opts))  # type: ignore[no-any-return]


VERBS = {
    "list": Verb("look.list_letters", f"list {_WHICH_USAGE} [--limit N] [--json]", f"{_WHICH} limit json"),
    "show": Verb("look.show", "show ID [--json]", "json", 1),
    "stats": Verb("look.stats", f"stats {_WHICH_USAGE} [--json]", f"{_WHICH} json"),
    "replay": Verb(
        "again.replay",
        f"replay {_WHICH_USAGE} [--limit N] [--crawl ID] [--dry-run]",
        f"{_WHICH} limit crawl dry_run",
    ),
}

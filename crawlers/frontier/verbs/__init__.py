"""The verbs of `scrapy frontier`: coroutines of the settings, their arguments and the options that return an exit code.

Their modules are imported when one is run: Scrapy imports this one with every command.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crawlers.exceptions import UserError

if TYPE_CHECKING:
    import argparse


@dataclass(frozen=True, slots=True)
class Verb:
    """One of them, and what it takes."""

    function: str
    """Where it is, below this package."""
    usage: str
    options: str = ""
    """Those of the command's options that it takes, by their names."""
    arguments: int = 0

    def check(self, args: list[str], opts: argparse.Namespace) -> None:
        """UserError where it was given what it does not take."""
        given = {name for name in OPTIONS if getattr(opts, name) not in (None, False)}
        if unknown := [arg for arg in args if arg.startswith("-") and arg != "-"]:
            raise UserError(f"unknown option {unknown[0]}. Expected: scrapy frontier {self.usage}")
        if odd := sorted(given - {*self.options.split()}):
            raise UserError(
                f"--{odd[0].replace('_', '-')} does not belong here. Expected: scrapy frontier {self.usage}"
            )
        if len(args) != self.arguments:
            raise UserError(f"expected: scrapy frontier {self.usage}")
        if opts.seconds is not None and opts.seconds <= 0:
            raise UserError(f"--seconds {opts.seconds:g}: expected a number above 0")
        if opts.top is not None and opts.top < 1:
            raise UserError(f"--top {opts.top}: expected 1 or more")

    def run(self, settings: Any, args: list[str], opts: argparse.Namespace) -> int:
        """Its exit code."""
        from scrapy.utils.misc import load_object

        return asyncio.run(load_object(f"{__name__}.{self.function}")(settings, args, opts))  # type: ignore[no-any-return]


_IMPORT = "from_url allow_pickle fingerprints move dry_run argument"
OPTIONS = (
    *("crawl", "json", "watch", "top", "domain", "forget", "dead", "reason", "all_complete", "follow", "force"),
    *("since", "seconds"),
    *("http", "browser", "learn"),
    *_IMPORT.split(),
)
"""Those that not every verb takes."""

VERBS = {
    "status": Verb("look.status", "status [--crawl ID] [--top N] [--json] [--watch]", "crawl top json watch"),
    "crawls": Verb("look.crawls", "crawls [--top N] [--json]", "top json"),
    "why": Verb("why.why", "why URL [--crawl ID] [--since AGE] [--seconds N] [--json]", "crawl since seconds json", 1),
    "domains": Verb(
        "look.domains", "domains [--domain D] [--top N] [--json] [--forget D [--yes]]", "domain top json forget"
    ),
    "routes": Verb(
        "routes.routes",
        "routes SITE [--http PATTERN | --browser PATTERN | --learn PATTERN] [--json]",
        "http browser learn json",
        1,
    ),
    "pause": Verb("steer.pause", "pause [--crawl ID]", "crawl"),
    "resume": Verb("steer.resume", "resume [--crawl ID]", "crawl"),
    "drain": Verb("steer.drain", "drain [--crawl ID]", "crawl"),
    "cancel": Verb("steer.cancel", "cancel [--crawl ID] [--yes]", "crawl"),
    "requeue": Verb(
        "steer.requeue",
        "requeue --dead [--reason R] [--domain D] [--crawl ID] [--yes]",
        "crawl dead reason domain",
    ),
    "purge": Verb(
        "steer.purge", "purge --crawl ID [--force] [--yes], or purge --all-complete [--yes]", "crawl all_complete force"
    ),
    "seed": Verb("seed.seed", "seed FILE|- [--crawl ID] [--follow]", "crawl follow", 1),
    "import-scrapy-redis": Verb(
        "bring.import_scrapy_redis",
        "import-scrapy-redis [--crawl ID] [--from-url URL] [--allow-pickle] [--move] [--dry-run]",
        f"crawl {_IMPORT}",
    ),
}

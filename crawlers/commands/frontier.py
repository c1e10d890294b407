"""`scrapy frontier`: what becomes of a crawl's requests, and what an operator does about it."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from scrapy.commands import ScrapyCommand

from crawlers import logs
from crawlers.exceptions import SeineError, UserError
from crawlers.frontier.verbs import VERBS, Verb
from crawlers.settings_check import check_settings

if TYPE_CHECKING:
    import argparse

_INTERRUPTED = 130
"""The exit code of a program that Ctrl-C or SIGTERM ended."""


class Command(ScrapyCommand):
    """Exit code 0: done. 1: Redis cannot be used, or there is no answer. 2: what was asked for is wrong."""

    requires_project = True
    requires_crawler_process = False
    default_settings: ClassVar[dict[str, Any]] = {"LOG_ENABLED": False}

    def syntax(self) -> str:
        return "VERB [options]"

    def short_desc(self) -> str:
        return "Look at crawls in Redis, and steer them"

    def long_desc(self) -> str:
        return f"{self.short_desc()}. {'; '.join(verb.usage for verb in VERBS.values())}."

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        super().add_options(parser)
        parser.error = _refuse  # type: ignore[method-assign]
        add = parser.add_argument
        add("--spider", default="product_spider", metavar="NAME", help="whose crawls (default: product_spider)")
        add("--crawl", metavar="ID", help="which crawl (default: the one that is open, else the newest)")
        add("--json", action="store_true", help="status, why, domains, routes, crawls: one JSON object")
        add(
            "--since", metavar="AGE", help="why: how far back the audit trail is read, such as 12h or 7d (default: all)"
        )
        add("--seconds", type=float, metavar="N", help="why: how long it is read at most (default: 60)")
        add("--watch", action="store_true", help="status: again every second, until Ctrl-C")
        add("--top", type=int, metavar="N", help="status, domains, crawls: how many")
        add("--domain", metavar="D", help="domains, requeue: only that one")
        add("--forget", metavar="D", help="domains: close its circuit, forget how slow it was")
        add("--http", metavar="PATTERN", help="routes: its pages by HTTP alone, whatever was learnt")
        add("--browser", metavar="PATTERN", help="routes: its pages by the browser alone")
        add("--learn", metavar="PATTERN", help="routes: take such a word back, and learn anew")
        add("--dead", action="store_true", help="requeue: the dead requests")
        add("--reason", metavar="R", help="requeue: only those that died of it")
        add("--all-complete", action="store_true", help="purge: every crawl that is complete")
        add("--follow", action="store_true", help="seed: follow links, inside the domains of the URLs")
        add("--from-url", metavar="URL", help="import-scrapy-redis: the Redis it comes from, where it is another")
        add("--allow-pickle", action="store_true", help="import-scrapy-redis: read entries that can run code")
        add("--fingerprints", metavar="F", help="import-scrapy-redis: formula of the seen-set, where nothing tells it")
        add("--move", action="store_true", help="import-scrapy-redis: remove there what is here")
        add("--dry-run", action="store_true", help="import-scrapy-redis: tell what it would do")
        add("-a", "--argument", action="append", metavar="N=V", help="import-scrapy-redis: an argument of the spider")
        add("--force", action="store_true", help="purge: though workers are at it")
        add("--yes", action="store_true", help="do not ask")

    def run(self, args: list[str], opts: argparse.Namespace) -> None:
        from crawlers.frontier.connection import AWAY

        try:
            check_settings(self.settings)
            logs.install(self.settings)
            verb = _verb(args)
            verb.check(args[1:], opts)
            self.exitcode = verb.run(self.settings, args[1:], opts)
        except SeineError as error:
            print(f"seine: {error}", file=sys.stderr)
            self.exitcode = error.exit_code
        except BrokenPipeError:
            sys.stderr.close()
        except AWAY as error:
            print(f"seine: Redis: {str(error) or type(error).__name__}", file=sys.stderr)
            self.exitcode = 1
        except (KeyboardInterrupt, asyncio.CancelledError):
            self.exitcode = 0 if opts.watch else _INTERRUPTED  # a watch has no other end


def _verb(args: list[str]) -> Verb:
    if not args or args[0] not in VERBS:
        raise UserError(f"scrapy frontier {' '.join(args[:1])}: expected one of {', '.join(VERBS)}")
    return VERBS[args[0]]


def _refuse(message: str) -> NoReturn:
    print(f"seine: frontier: {message}", file=sys.stderr)
    sys.exit(UserError.exit_code)

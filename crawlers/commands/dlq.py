"""`scrapy dlq`: the dead letters, and what an operator does about them."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from scrapy.commands import ScrapyCommand

from crawlers import logs
from crawlers.dead_letters.verbs import VERBS, Verb
from crawlers.exceptions import SeineError, UserError
from crawlers.settings_check import check_settings

if TYPE_CHECKING:
    import argparse

_INTERRUPTED = 130
"""The exit code of a program that Ctrl-C or SIGTERM ended."""


class Command(ScrapyCommand):
    """Exit code 0: done. 1: Kafka or Redis cannot be used, or there is no answer. 2: what was asked for is wrong."""

    requires_project = True
    requires_crawler_process = False
    default_settings: ClassVar[dict[str, Any]] = {"LOG_ENABLED": False}

    def syntax(self) -> str:
        return "VERB [options]"

    def short_desc(self) -> str:
        return "Look at dead letters, and replay them"

    def long_desc(self) -> str:
        return f"{self.short_desc()}. {'; '.join(verb.usage for verb in VERBS.values())}."

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        super().add_options(parser)
        parser.error = _refuse  # type: ignore[method-assign]
        add = parser.add_argument
        add("--stage", metavar="S", help="only those of a stage: validation, download, …")
        add("--error", metavar="E", help="only those of an error: InvalidItem, 'http 404', …")
        add("--domain", metavar="D", help="only those of a domain")
        add("--since", metavar="T", help="only those written since: 90m, 12h, 7d, or 2026-01-31T12:00")
        add("--limit", type=int, metavar="N", help="list: the newest N (default: 20); replay: the oldest N")
        add("--crawl", metavar="ID", help="replay: where requests go whose own crawl is gone")
        add("--dry-run", action="store_true", help="replay: tell what it would look at")
        add("--json", action="store_true", help="list, show, stats: JSON, one object a line")

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
            self.exitcode = _INTERRUPTED


def _verb(args: list[str]) -> Verb:
    if not args or args[0] not in VERBS:
        raise UserError(f"scrapy dlq {' '.join(args[:1])}: expected one of {', '.join(VERBS)}")
    return VERBS[args[0]]


def _refuse(message: str) -> NoReturn:
    print(f"seine: dlq: {message}", file=sys.stderr)
    sys.exit(UserError.exit_code)

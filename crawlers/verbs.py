"""Commands of several verbs: which there are, what each of them takes, and how it ends."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from scrapy.commands import ScrapyCommand
from scrapy.utils.misc import load_object

from crawlers import logs
from crawlers.exceptions import SeineError, UserError
from crawlers.settings_check import check_settings

if TYPE_CHECKING:
    import argparse

_INTERRUPTED = 130
"""The exit code of a program that Ctrl-C or SIGTERM ended."""


@dataclass(frozen=True, slots=True)
class Verb:
    """One of a command's, and what it takes."""

    function: str
    """The path of a function, or a coroutine, of the settings, the arguments and the options: it returns an exit code.

    It is imported when it is run: Scrapy imports a command's own module with every command.
    """
    usage: str
    options: str = ""
    """Those that it takes of the command's options that not every verb takes, by their names."""
    arguments: int | None = 0
    """None is any number."""


class VerbCommand(ScrapyCommand):
    """Runs one of its verbs. Every failure is told in one line."""

    name: ClassVar[str]
    verbs: ClassVar[dict[str, Verb]]
    positive: ClassVar[tuple[str, ...]] = ()
    """Options that are numbers: whole ones must be 1 or more, others above 0."""
    asks_redis: ClassVar[bool] = False
    """Whether a lost connection is one to Redis; what else is lost has an error of Seine's own."""
    endless: ClassVar[str | None] = None
    """The option with which a verb has no other end than Ctrl-C."""

    requires_project = True
    requires_crawler_process = False
    default_settings: ClassVar[dict[str, Any]] = {"LOG_ENABLED": False}

    def syntax(self) -> str:
        return "VERB [options]"

    def long_desc(self) -> str:
        return f"{self.short_desc()}. {'; '.join(verb.usage for verb in self.verbs.values())}."

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        super().add_options(parser)
        parser.error = self._refuse  # type: ignore[method-assign]

    def run(self, args: list[str], opts: argparse.Namespace) -> None:
        try:
            check_settings(self.settings)
            logs.install(self.settings)
            verb = self._verb(args)
            self._check(verb, args[1:], opts)
            code = load_object(verb.function)(self.settings, args[1:], opts)
            self.exitcode = asyncio.run(code) if asyncio.iscoroutine(code) else code
        except SeineError as error:
            print(f"seine: {error}", file=sys.stderr)
            self.exitcode = error.exit_code
        except BrokenPipeError:
            sys.stderr.close()
        except (KeyboardInterrupt, asyncio.CancelledError):
            self.exitcode = 0 if self.endless and getattr(opts, self.endless) else _INTERRUPTED
        except Exception as error:
            if self._is_redis_away(error):
                print(f"seine: Redis: {str(error) or type(error).__name__}", file=sys.stderr)
            elif isinstance(error, OSError):
                print(f"seine: {error}", file=sys.stderr)
            else:
                raise
            self.exitcode = 1

    def _is_redis_away(self, error: Exception) -> bool:
        if not self.asks_redis or (isinstance(error, OSError) and error.filename is not None):
            return False
        from crawlers.frontier.connection import AWAY

        return isinstance(error, AWAY)

    def _verb(self, args: list[str]) -> Verb:
        if not args or args[0] not in self.verbs:
            raise UserError(f"scrapy {self.name} {' '.join(args[:1])}: expected one of {', '.join(self.verbs)}")
        return self.verbs[args[0]]

    def _check(self, verb: Verb, args: list[str], opts: argparse.Namespace) -> None:
        """UserError where the verb was given what it does not take."""
        usage = f"scrapy {self.name} {verb.usage}"
        if unknown := [arg for arg in args if arg.startswith("-") and arg != "-"]:
            raise UserError(f"unknown option {unknown[0]}. Expected: {usage}")
        if odd := sorted(self._given(opts) - {*verb.options.split()}):
            raise UserError(f"{_flag(odd[0])} does not belong here. Expected: {usage}")
        if verb.arguments not in (None, len(args)):
            raise UserError(f"expected: {usage}")
        for name in self.positive:
            _check_positive(name, getattr(opts, name))

    def _given(self, opts: argparse.Namespace) -> set[str]:
        """The options that were given, of those that not every verb takes."""
        names = {name for verb in self.verbs.values() for name in verb.options.split()}
        return {name for name in names if getattr(opts, name) is not None and getattr(opts, name) is not False}

    def _refuse(self, message: str) -> NoReturn:
        print(f"seine: {self.name}: {message}", file=sys.stderr)
        sys.exit(UserError.exit_code)


def _check_positive(name: str, number: float | None) -> None:
    if isinstance(number, int) and number < 1:
        raise UserError(f"{_flag(name)} {number}: expected 1 or more")
    if number is not None and number <= 0:
        raise UserError(f"{_flag(name)} {number:g}: expected a number above 0")


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"

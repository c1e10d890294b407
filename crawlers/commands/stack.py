"""`scrapy stack`: start, stop and look at the embedded Redis, Kafka, schema registry and HDFS."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from typing import TYPE_CHECKING, Any, ClassVar

from scrapy.commands import ScrapyCommand
from scrapy.exceptions import UsageError

if TYPE_CHECKING:
    from deploy.local import Stack, StackError

ACTIONS = ("up", "down", "status", "logs", "env")
INTERRUPTED = 130
"""The exit code of a program that Ctrl-C ended."""


class Command(ScrapyCommand):
    requires_project = True
    requires_crawler_process = False
    default_settings: ClassVar[dict[str, Any]] = {"LOG_ENABLED": False}

    def syntax(self) -> str:
        return "up [SERVICE…] | down [--wipe] | status [--json] | logs NAME [-n LINES] | env"

    def short_desc(self) -> str:
        return "Run real Redis, Kafka, schema registry and HDFS on this machine"

    def long_desc(self) -> str:
        from deploy.local import Stack

        services = ", ".join(Stack.service_names())
        return f"{self.short_desc()}, without Docker, Java or root. Services: {services}."

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        super().add_options(parser)
        parser.add_argument("--wipe", action="store_true", help="down: remove the stored data too")
        parser.add_argument("--json", action="store_true", help="status: print JSON")
        parser.add_argument("-n", "--lines", type=int, default=200, help="logs: how many lines (default: 200)")

    def run(self, args: list[str], opts: argparse.Namespace) -> None:
        from deploy.local import Stack, StackConfig, StackError

        if not args or args[0] not in ACTIONS:
            raise UsageError(f"expected one of {', '.join(ACTIONS)}")
        if unknown := [arg for arg in args if arg.startswith("-")]:
            raise UsageError(f"unknown option {unknown[0]}")
        assert self.settings is not None
        try:
            stack = Stack(StackConfig.from_settings(self.settings))
            getattr(self, f"_{args[0]}")(stack, args[1:], opts)
        except StackError as error:
            self._fail(error)
        except KeyboardInterrupt:
            print("interrupted; run it again to go on", file=sys.stderr)
            self.exitcode = INTERRUPTED

    def _fail(self, error: StackError) -> None:
        for line in getattr(error, "log", []):
            print(f"  {line}", file=sys.stderr)
        print(error, file=sys.stderr)
        self.exitcode = 1

    def _up(self, stack: Stack, names: list[str], opts: argparse.Namespace) -> None:
        from rich.console import Console

        from deploy.local.progress import progress_for

        stack.up(names or None, progress_for(Console(stderr=True)))
        _print_table(stack)

    def _down(self, stack: Stack, names: list[str], opts: argparse.Namespace) -> None:
        stack.down(wipe=opts.wipe, services=names or None)

    def _status(self, stack: Stack, names: list[str], opts: argparse.Namespace) -> None:
        _expect(names, 0, "status takes no argument")
        if opts.json:
            print(json.dumps(stack.status()))
        else:
            _print_table(stack)

    def _logs(self, stack: Stack, names: list[str], opts: argparse.Namespace) -> None:
        _expect(names, 1, "logs takes the name of a service")
        for line in stack.logs(names[0], opts.lines):
            print(line)

    def _env(self, stack: Stack, names: list[str], opts: argparse.Namespace) -> None:
        _expect(names, 0, "env takes no argument")
        for name, value in stack.env().items():
            print(f"export {name}={shlex.quote(value)}")


def _expect(args: list[str], count: int, otherwise: str) -> None:
    if len(args) != count:
        raise UsageError(otherwise)


def _print_table(stack: Stack) -> None:
    for name, service in stack.status().items():
        address = next(iter(service.values()))
        print(f"{name:16} {service['state']:9} {address}")

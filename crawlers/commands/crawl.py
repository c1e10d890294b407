"""`scrapy crawl`: Scrapy's own, with one line per mistake, a summary at the end and an honest exit code."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NoReturn

from scrapy.commands.crawl import Command as ScrapyCrawl
from scrapy.exceptions import UsageError

from crawlers import logs
from crawlers.exceptions import SeineError, Skipped, UserError
from crawlers.frontier.wiring import enable_frontier
from crawlers.proxies.listing import check_proxies
from crawlers.settings_check import check_settings
from crawlers.summary import CrawlSummary

if TYPE_CHECKING:
    import argparse


class Command(ScrapyCrawl):
    """Exit code 0: the crawl finished, was asked to stop, or was skipped. 1: it failed. 2: the user's mistake."""

    def process_options(self, args: list[str], opts: argparse.Namespace) -> None:
        super().process_options(args, opts)
        try:
            check_settings(self.settings)
            assert self.settings is not None
            check_proxies(self.settings)
            enable_frontier(self.settings)
            logs.install(self.settings)
        except SeineError as error:
            _refuse(error)
        self.settings.set("LOG_INSTALL_ROOT_HANDLER", False, priority="cmdline")

    def run(self, args: list[str], opts: argparse.Namespace) -> None:
        if len(args) != 1:
            raise UsageError("expected one spider: scrapy crawl product_spider")
        try:
            crawler = self._create_crawler(args[0])
        except KeyError:
            _refuse(UserError(f"unknown spider {args[0]!r}: `scrapy list` names them"))
        assert self.crawler_process is not None
        task: Any = self.crawler_process.crawl(crawler, **opts.spargs)
        self.crawler_process.start()
        self._raise_failure(task)
        if error := crawler.stats.get_value("startup_error"):
            _refuse(error, crawler.settings.getint("CRAWL_SKIPPED_EXIT_CODE") if isinstance(error, Skipped) else None)
        summary = CrawlSummary.of(crawler)
        summary.tell()
        summary.print()
        self.exitcode = int(summary.failed)

    def _raise_failure(self, task: Any) -> None:
        error = task.exception() if task.done() and not task.cancelled() else None
        if error is None:
            return
        if not isinstance(error, SeineError):
            raise error
        _refuse(error)


def _refuse(error: SeineError, code: int | None = None) -> NoReturn:
    print(f"seine: {error}", file=sys.stderr)
    sys.exit(error.exit_code if code is None else code)

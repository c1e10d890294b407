"""One crawl in a process of its own, and what it took: CPU of all its threads, peak memory, pages, items."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_COUNT = r"""\W%s\W+(\d+)"""


class CrawlFailed(Exception):
    """The crawl did not end as it should; the message holds the end of its log."""


@dataclass(frozen=True, slots=True)
class Usage:
    cpu: float
    """Seconds, user and system, of the whole process."""
    rss: float
    """MiB at the peak."""
    pages: int
    items: int


@dataclass(frozen=True, slots=True)
class Crawl:
    """A command line of Scrapy that can be run with several lists of URLs."""

    arguments: tuple[str, ...]
    folder: Path
    """Where it runs: a project's root, or a folder outside any project."""
    environment: dict[str, str]
    scratch: Path
    """Holds its log."""
    cpus: frozenset[int] = frozenset()

    def run(self, urls: Path, follow: bool, python: tuple[str, ...] = ()) -> Usage:
        """Crawl the addresses in `urls`; `python` goes before `-m scrapy`. Raises CrawlFailed."""
        log = self.scratch / "crawl.log"
        log.unlink(missing_ok=True)
        options = ("-a", f"urls=@{urls}", "-a", f"follow={int(follow)}", "-s", f"LOG_FILE={log}", "-s", "STATS_DUMP=1")
        with (self.scratch / "crawl.err").open("w+", encoding="utf-8") as errors:
            code, used = self._waited(self._start([*python, "-m", "scrapy", *self.arguments, *options], errors))
            errors.seek(0)
            text = (log.read_text("utf-8") if log.exists() else "") + errors.read()
        if code:
            raise CrawlFailed(f"scrapy {' '.join(self.arguments)}: exit code {code}\n{text[-2000:]}")
        peak = used.ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)
        pages, items = (_count(text, name) for name in ("response_received_count", "item_scraped_count"))
        return Usage(used.ru_utime + used.ru_stime, peak, pages, items)

    def _start(self, arguments: list[str], output: IO[str]) -> subprocess.Popen[bytes]:
        # Set by Scrapy's own look-up of project settings: the plain spider belongs to no project.
        inherited = {name: value for name, value in os.environ.items() if name != "SCRAPY_SETTINGS_MODULE"}
        environment = {**inherited, "ALLOWED_PRIVATE_NETWORKS": "127.0.0.0/8", **self.environment}
        command = [sys.executable, *arguments]
        child = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=output, stderr=output)
        if self.cpus:
            os.sched_setaffinity(child.pid, self.cpus)
        return child

    @staticmethod
    def _waited(child: subprocess.Popen[bytes]) -> tuple[int, resource.struct_rusage]:
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        return child.returncode, used


def _count(log: str, name: str) -> int:
    found = re.findall(_COUNT % re.escape(name), log)
    return int(found[-1]) if found else 0

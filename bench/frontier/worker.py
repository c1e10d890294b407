"""One crawl in a process of its own: `run()` starts it from here, and it prints what it measured as JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scrapy.crawler import CrawlerProcess
from scrapy.utils.misc import load_object

from bench.frontier.sides import settings_of

ROOT = Path(__file__).resolve().parents[2]
_MARK = "RESULT "


class WorkerFailed(Exception):
    """The worker did not end as it should; the message holds the end of its log."""


@dataclass(frozen=True, slots=True)
class Job:
    """A crawl of one side."""

    side: str
    redis_url: str
    graph: dict[str, int] = field(default_factory=dict)
    spider: str = "bench.frontier.spiders.LinkSpider"
    settings: dict[str, Any] = field(default_factory=dict)
    cpu: int | None = None
    """The CPU that it is kept on."""
    profile: str = ""
    """A file for cProfile's figures."""

    def start(self) -> Worker:
        """The running worker."""
        fields = {name: getattr(self, name) for name in ("side", "redis_url", "graph", "spider", "settings")}
        profile = ("-m", "cProfile", "-o", self.profile) if self.profile else ()
        command = [sys.executable, *profile, "-m", "bench.frontier.worker", json.dumps(fields)]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True)
        if self.cpu is not None:
            os.sched_setaffinity(process.pid, {self.cpu})
        return Worker(process)

    def run(self, timeout: float = 300) -> dict[str, Any]:
        """What it measured. Raises WorkerFailed."""
        with self.start() as worker:
            return worker.result(timeout)


class Worker:
    """A worker's process, which is ended where its result is not waited for."""

    def __init__(self, process: subprocess.Popen[str]):
        self.process = process

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()

    def result(self, timeout: float = 300) -> dict[str, Any]:
        """Its spider's `result`, once it has ended. Raises WorkerFailed."""
        try:
            out, errors = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            raise WorkerFailed(f"still running after {timeout:g} s") from None
        found = [line for line in out.splitlines() if line.startswith(_MARK)]
        if self.process.returncode or not found:
            raise WorkerFailed(f"exit code {self.process.returncode}\n{errors[-3000:]}")
        result: dict[str, Any] = json.loads(found[-1].removeprefix(_MARK))
        return result


def main() -> None:
    job = Job(**json.loads(sys.argv[1]))
    settings = {**settings_of(job.side, job.redis_url), **job.settings}
    process = CrawlerProcess(settings)
    crawler = process.create_crawler(load_object(job.spider))
    process.crawl(crawler, graph=job.graph)
    process.start()
    spider: Any = crawler.spider
    if spider is None or not spider.result:
        raise SystemExit("the crawl did not start")
    print(_MARK + json.dumps(spider.result))


if __name__ == "__main__":
    main()

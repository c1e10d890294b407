"""A crawl of rendered pages with a frontier: whatever its browsers go through, every request has its one outcome."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import psutil

from tests.browsers import short_folder
from tests.chaos import Tree
from tests.fleet import FrontierSeine
from tests.polling import until
from tests.servers.web import WebServer
from tests.support import Finished

KILLS = int(os.environ.get("BROWSER_KILLS", "5"))
PAGES = 12 * KILLS


def test_browsers_that_are_killed_lose_no_request(fleet: FrontierSeine, web: Callable[..., WebServer]) -> None:
    site = web(Tree(PAGES))
    site.latency = 0.1
    with short_folder() as folder:
        settings = {"BROWSER_TMP_DIR": folder, "CONCURRENT_REQUESTS_PER_DOMAIN": 4, "RETRY_TIMES": 20}
        options = fleet.options(SPIDER_MODULES="tests.rendered_spider", **settings)
        worker = fleet.start("crawl", "path_spider", "-a", f"url={site.url}/item-0", *options)
        seen: set[int] = set()
        for kill in range(1, KILLS + 1):
            browser = until(lambda: _browser_of(worker.pid, folder, seen), "a browser", 30)
            site.wait_for(8 * kill)
            seen.add(browser.pid)
            browser.kill()
        out, err = worker.communicate(timeout=120)
        assert worker.returncode == 0, err[-2000:]
        assert not list(folder.iterdir())
    ended = fleet.ended(Finished(0, out, err), site)
    assert ended.of("delivered", "dead", "pending") == {"delivered": PAGES, "dead": 0, "pending": 0}
    assert set(ended.server.pages) <= set(ended.server.times)


def _browser_of(worker: int, folder: Path, known: set[int]) -> psutil.Process | None:
    """The browser that the worker has started and that is not `known`, once it listens."""
    for process in psutil.Process(worker).children(recursive=True):
        try:
            command = " ".join(process.cmdline())
        except psutil.Error:
            continue
        is_browser = "--remote-debugging-port" in command and "--type=" not in command
        if is_browser and process.pid not in known:
            return process
    return None

"""A real Selenium Grid as the remote browser: pages, identities, crashes, and what is left of it all: nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from scrapy.settings import Settings

from browser_pool.egress import Egress
from browser_pool.engine import engine_profile
from browser_pool.errors import BrowserError
from browser_pool.pool import BrowserPool
from browser_pool.selenium import SeleniumBackend
from crawlers.identity import Identity
from tests.browsers import BOT, anywhere, pool_of, run, short_folder, task
from tests.chaos import Tree
from tests.fleet import FrontierSeine
from tests.polling import until
from tests.servers.grid import SLOTS, Grid
from tests.servers.web import Page, WebServer
from tests.support import Finished

PAGES = 16
KILLS = 2
Web = Callable[..., WebServer]


@pytest.fixture(scope="module")
def running_grid() -> Iterator[Grid]:
    with short_folder() as folder, Grid(folder) as grid:
        yield grid


@pytest.fixture
def grid(running_grid: Grid) -> Iterator[Grid]:
    """Without a session, also in the end: what a worker opened it has ended."""
    yield running_grid
    until(lambda: not running_grid.sessions() and not running_grid.waiting(), lambda: f"{running_grid.sessions()} left")
    until(lambda: not running_grid.browsers(), "no end of its browsers")


@asynccontextmanager
async def pool_at(grid: Grid, egress: Egress | None = None, **options: Any) -> AsyncIterator[BrowserPool]:
    with short_folder() as folder:
        async with pool_of(SeleniumBackend(), folder, egress, remote=grid.url, **options) as pool:
            yield pool


def test_a_page_comes_as_it_is_and_by_the_worker(grid: Grid, web: Web) -> None:
    body = "<body><script>document.body.append(2 * 3)</script>"
    site = web({"/": Page("<script>location = '/final'</script>"), "/final": Page(body, 404, {"X-Shop": "mine"})})

    async def crawl() -> None:
        egress = Egress(anywhere)
        async with pool_at(grid, egress) as pool:
            rendered = await pool.render(task(site.url + "/", wait_for="body"), BOT)
            assert (rendered.url, rendered.status) == (site.url + "/final", 404)
            assert ("X-Shop", "mine") in rendered.headers
            assert b"6" in rendered.body
            assert len(grid.sessions()) == 1
            assert (await egress.port(BOT.label)).sent > 0

    run(crawl(), 120)


def test_identities_are_its_engines(grid: Grid, web: Web) -> None:
    """Those of plain requests, too; the Chromium beside the worker is not looked at."""
    site = web({"/": Page("here")})
    local = {"BROWSER_BACKEND": "selenium", "BROWSER_EXECUTABLE": "/nowhere/chromium", "BROWSER_LAUNCH_TIMEOUT": 60}
    profile = engine_profile(Settings({**local, "BROWSER_REMOTE_URL": grid.url}))
    assert profile is not None

    async def crawl() -> None:
        async with pool_at(grid) as pool:
            await pool.render(task(site.url + "/"), Identity("own", is_browser_like=True))

    run(crawl(), 120)
    sent = {name.lower(): value for name, value in site.visits[0].headers}
    assert (sent["user-agent"], sent["sec-ch-ua"]) == (profile.user_agent, profile.brands)


def test_a_launch_that_is_given_up_leaves_no_session(grid: Grid, web: Web) -> None:
    """The Grid is full, so it has to wait, and is not opened later for nobody."""
    site = web({"/": Page("here")})

    async def crawl() -> None:
        async with pool_at(grid, processes=SLOTS) as pool:
            for name in range(SLOTS):
                await pool.render(task(site.url + "/"), Identity(str(name)))
            async with pool_at(grid, launch_timeout=2.0) as another:
                with pytest.raises(BrowserError):
                    await another.render(task(site.url + "/"), BOT)
        async with pool_at(grid) as pool:
            await pool.render(task(site.url + "/"), BOT)
            assert len(grid.sessions()) == 1

    run(crawl(), 180)


def test_browsers_that_the_node_loses_cost_no_request(grid: Grid, fleet: FrontierSeine, web: Web) -> None:
    site = web(Tree(PAGES))
    site.latency = 0.1
    settings = {"BROWSER_BACKEND": "selenium", "BROWSER_REMOTE_URL": grid.url, "RETRY_TIMES": 20}
    with short_folder() as folder:
        options = fleet.options(SPIDER_MODULES="tests.rendered_spider", BROWSER_TMP_DIR=folder, **settings)
        worker = fleet.start("crawl", "path_spider", "-a", f"url={site.url}/item-0", *options)
        for kill in range(1, KILLS + 1):
            site.wait_for(4 * kill)
            browser = until(grid.browsers, "a browser")[0]
            browser.kill()
            browser.wait()
        out, err = worker.communicate(timeout=150)
        assert worker.returncode == 0, err[-2000:]
        assert not list(folder.iterdir())
    ended = fleet.ended(Finished(0, out, err), site)
    assert ended.of("delivered", "dead", "pending") == {"delivered": PAGES, "dead": 0, "pending": 0}

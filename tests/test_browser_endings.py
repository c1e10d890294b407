"""What the download handler makes of browsers that end: by a crash, or because the crawl is over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from scrapy import Request, Spider
from scrapy.crawler import Crawler
from scrapy.exceptions import DownloadFailedError
from scrapy.utils.project import get_project_settings

from browser_pool.handler import BrowserHandler
from browser_pool.shared import SharedPool
from tests.browsers import children, chromiums, run, short_folder
from tests.polling import eventually
from tests.servers.web import Page, WebServer

Web = Callable[..., WebServer]


class NoPlain:
    """In the place of plain HTTP, which nothing is asked of here."""

    async def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def crawler() -> Iterator[Crawler]:
    settings = get_project_settings()
    settings.set("ALLOWED_PRIVATE_NETWORKS", "127.0.0.0/8")
    with short_folder() as folder:
        settings.set("BROWSER_TMP_DIR", str(folder))
        before = children()
        yield Crawler(Spider, settings)
        assert not list(Path(folder).iterdir())
        assert [process for process in children() if process not in before] == []


def rendered(url: str) -> Request:
    return Request(url, meta={"browser": True, "dont_merge_cookies": True})


def test_a_crash_is_a_crash_whatever_the_network_did_before(crawler: Crawler, web: Web, nowhere: str) -> None:
    """It was a part of the page before that could not be had."""
    site = web({"/": Page(f"<script src=http://{nowhere}/></script>"), "/next": Page("next")})

    async def crawl() -> None:
        handler = BrowserHandler(crawler, NoPlain())
        assert (await handler.download_request(rendered(site.url + "/"))).status == 200
        site.may_answer.clear()
        page = asyncio.ensure_future(handler.download_request(rendered(site.url + "/next")))
        await eventually(lambda: site.times["/next"], "the page")
        chromiums()[0].kill()
        with pytest.raises(DownloadFailedError, match=r"^BrowserGone"):
            await page
        site.may_answer.set()
        await handler.close()

    run(crawl())


def test_a_page_that_ends_with_the_crawl_opens_no_other_browser(crawler: Crawler, web: Web) -> None:
    site = web({"/": Page("here")})

    async def crawl() -> None:
        handler = BrowserHandler(crawler, NoPlain())
        site.may_answer.clear()
        page = asyncio.ensure_future(handler.download_request(rendered(site.url + "/")))
        await eventually(lambda: site.visits, "the page")
        await handler.close()
        with pytest.raises(DownloadFailedError):
            await page
        assert SharedPool.closing(crawler) is None
        site.may_answer.set()

    run(crawl())

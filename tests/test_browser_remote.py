"""Browsers of another machine: Chromium by its DevTools address, a Grid by WebDriver's. Their way out is the worker."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from scrapy.settings import Settings

from browser_pool.backend import Backend, without_remote
from browser_pool.egress import Egress
from browser_pool.errors import BrowserError, PageFailed
from browser_pool.options import PoolOptions
from browser_pool.playwright import PlaywrightBackend
from browser_pool.pool import BrowserPool
from browser_pool.selenium import SeleniumBackend
from crawlers.exceptions import UserError
from crawlers.fetching.addresses import AddressRules
from crawlers.identity import Identity
from crawlers.masking.hidden import Hidden, passwords
from crawlers.remote_browsers import Listening, check_remote
from tests.browsers import BOT, anywhere, run, short_folder, task
from tests.polling import eventually
from tests.servers.browser import RemoteBrowser
from tests.servers.web import Page, WebServer

Web = Callable[..., WebServer]


class Elsewhere:
    """A remote browser, and pools that use it."""

    def __init__(self, remote: RemoteBrowser, make_backend: Callable[[], Backend], folder: Path):
        self.remote = remote
        self._make_backend = make_backend
        self._folder = folder

    @asynccontextmanager
    async def pool(self, **options: Any) -> AsyncIterator[BrowserPool]:
        egress = options.pop("egress", None) or Egress(anywhere)
        options |= {"remote": self.remote.url, "folder": str(self._folder)}
        pool = BrowserPool(self._make_backend(), PoolOptions(**options), egress)
        pool.open()
        try:
            yield pool
        finally:
            await pool.close()
        assert not os.listdir(self._folder)


@pytest.fixture(params=[("chromium", PlaywrightBackend), ("chromedriver", SeleniumBackend)], ids=lambda kind: kind[0])
def elsewhere(request: pytest.FixtureRequest) -> Iterator[Elsewhere]:
    kind, make_backend = request.param
    with RemoteBrowser(kind) as remote, short_folder() as folder:
        yield Elsewhere(remote, make_backend, folder)


def test_pages_are_rendered_there_and_nothing_stays_behind(elsewhere: Elsewhere, web: Web) -> None:
    site = web(
        {"/": Page("<body><script>document.body.append('had' + document.cookie); document.cookie = 'a=1'</script>")}
    )
    before = elsewhere.remote.open()

    async def crawl() -> None:
        async with elsewhere.pool(pages=2) as pool:
            for identity in (BOT, BOT, Identity("other")):
                rendered = await pool.render(task(site.url + "/"), identity)
                assert {cookie.value for cookie in rendered.cookies} == {"1"}
            assert b"hada=1" not in rendered.body
            assert len(elsewhere.remote.open()) > len(before)
        await eventually(lambda: len(elsewhere.remote.open()) == len(before), "the end of what was opened")

    run(crawl(), 120)


def test_its_way_out_is_this_workers(elsewhere: Elsewhere, web: Web) -> None:
    site, hidden = web({"/": Page("here")}), web({"/": Page("secret")}, host="127.0.0.2")

    async def crawl() -> None:
        egress = Egress(lambda host, port: AddressRules(["127.0.0.1/32"]))
        async with elsewhere.pool(egress=egress) as pool:
            assert b"here" in (await pool.render(task(site.url + "/"), BOT)).body
            assert (await egress.port(BOT.label)).sent > 0
            with pytest.raises(PageFailed):
                await pool.render(task(hidden.url + "/"), BOT)
            assert "127.0.0.2" in {host for host, _ in (await egress.port(BOT.label)).refusals}
        assert not hidden.visits

    run(crawl(), 120)


def test_one_that_is_killed_costs_its_page_an_attempt(elsewhere: Elsewhere, web: Web) -> None:
    site = web({"/": Page("here")})

    async def crawl() -> None:
        async with elsewhere.pool(launch_timeout=10.0) as pool:
            assert (await pool.render(task(site.url + "/"), BOT)).status == 200
            elsewhere.remote.kill()
            with pytest.raises(BrowserError) as caught:
                await pool.render(task(site.url + "/", 5), BOT)
            assert elsewhere.remote.url not in str(caught.value)
            elsewhere.remote.start()
            assert (await pool.render(task(site.url + "/"), BOT)).status == 200

    run(crawl(), 120)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"BROWSER_REMOTE_URL": "http://browsers:4444"}, "set BROWSER_EGRESS_HOST"),
        ({"BROWSER_REMOTE_URL": "browsers:4444"}, "expected a URL that starts with ws://"),
        ({"BROWSER_REMOTE_URL": "ws://127.0.0.1:1", "BROWSER_BACKEND": "selenium"}, "starts with http://"),
        ({"BROWSER_REMOTE_URL": "http://127.0.0.1:1", "BROWSER_BACKEND": "undetected"}, "not undetected"),
        ({"BROWSER_REMOTE_URL": "http://[::1"}, "expected a URL"),
        ({"BROWSER_EGRESS_HOST": "10.0.0.5"}, "expected BROWSER_EGRESS_CLIENTS beside it"),
        ({"BROWSER_EGRESS_CLIENTS": ["here"]}, "BROWSER_EGRESS_CLIENTS: here: expected a network"),
    ],
)
def test_what_cannot_work_is_told_before_the_crawl(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_remote(Settings({"BROWSER_BACKEND": "playwright", **settings}))


@pytest.mark.parametrize(
    "said",
    [
        "connect to ws://user:p%40ssword@browsers:9222/devtools?token=t0psecret&n=1",
        "Max retries exceeded with url: /session?token=t0psecret&n=1",
        "http://browsers:9222/json/version?token=t0psecret: 401",
        "no such user: user:p@ssword",
    ],
)
def test_no_credentials_of_its_address_are_told(said: str) -> None:
    """Neither in errors nor in the log, whatever part of the address is quoted."""
    remote = "ws://user:p%40ssword@browsers:9222/devtools?token=t0psecret&n=1"
    settings = Settings({"BROWSER_REMOTE_URL": remote, "SETTINGS_CONTRACT": {}})
    hidden = Hidden()
    hidden.hide(passwords(settings), None)
    for shown in (without_remote(said, remote), hidden(None, "info", {"error": said})["error"]):
        assert "t0psecret" not in shown
        assert "ssword" not in shown


def test_the_egress_serves_the_browsers_networks_alone() -> None:
    given = {"BROWSER_EGRESS_HOST": "10.0.0.5", "BROWSER_EGRESS_CLIENTS": ["10.0.3.0/24"]}
    listening = Listening.from_settings(Settings(given))
    assert [listening.serves(client) for client in ("10.0.3.7", "127.0.0.1", "10.0.4.7")] == [True, True, False]


def test_a_client_of_another_network_is_cut_off() -> None:
    """The egress listens where others reach it, and closes what they open."""

    async def connect() -> None:
        egress = Egress(anywhere, listening=_NobodyServed())
        port = await egress.port("one")
        reader, writer = await asyncio.open_connection("127.0.0.1", int(port.url.rpartition(":")[2]))
        writer.write(b"\x05\x01\x00")
        with suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
        await egress.close()

    run(connect())


class _NobodyServed(Listening):
    """Loopback is always served otherwise, and tests have no other network."""

    def serves(self, client: str) -> bool:
        return False

"""undetected-chromedriver's patched driver: a page does not see it, and it is the installed one's copy."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from browser_pool.backend import Backend
from browser_pool.selenium import SeleniumBackend
from browser_pool.undetected import UndetectedBackend
from crawlers.exceptions import UserError
from tests.browsers import BOT, children, pool_of, run, short_folder, task
from tests.servers.web import Page, WebServer

Web = Callable[..., WebServer]
LOOKING = """<body><script>setTimeout(() => {
    const names = Object.getOwnPropertyNames(window).filter(name => name.startsWith('cdc_'));
    document.body.insertAdjacentHTML('beforeend', `<p id=done>found ${names.length}</p>`);
}, 300)</script>"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as made:
        yield made


def page_of(backend: Backend, folder: Path, url: str) -> bytes:
    async def crawl() -> bytes:
        async with pool_of(backend, folder) as pool:
            return (await pool.render(task(url, wait_for="#done"), BOT)).body

    body: bytes = run(crawl())
    return body


def test_a_page_does_not_see_the_driver(folder: Path, web: Web) -> None:
    """It does see Selenium's."""
    site = web({"/": Page(LOOKING)})
    assert b"found 0" in page_of(UndetectedBackend(), folder, site.url + "/")
    assert b"found 0" not in page_of(SeleniumBackend(), folder, site.url + "/")


def test_the_driver_is_a_copy_of_the_installed_one_which_stays_as_it_is(folder: Path, web: Web) -> None:
    installed = Path(shutil.which("chromedriver") or "")
    before = hashlib.sha256(installed.read_bytes()).digest()
    site = web({"/": Page("here")})

    async def crawl() -> None:
        async with pool_of(UndetectedBackend(), folder) as pool:
            await pool.render(task(site.url + "/"), BOT)
            [driver] = [process for process in children() if process.name().startswith("chromedriver")]
            assert Path(driver.exe()).is_relative_to(folder)

    run(crawl())
    assert hashlib.sha256(installed.read_bytes()).digest() == before


def test_without_an_installed_driver_none_is_downloaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    async def crawl() -> None:
        async with pool_of(UndetectedBackend(), folder, executable="/usr/bin/env") as pool:
            await pool.render(task("http://127.0.0.1:9/"), BOT)

    with pytest.raises(UserError, match="no chromedriver on PATH"):
        run(crawl())

"""Browsers that are killed, hang, fill the memory or lose their driver.

Each page fails as one to be tried again, others go on, and nothing is left behind.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import psutil
import pytest

from browser_pool.backend import Backend
from browser_pool.errors import BrowserError, BrowserGone, BrowserTimeout
from browser_pool.playwright import PlaywrightBackend
from browser_pool.pool import WATCH_INTERVAL, BrowserPool
from crawlers import metrics
from tests.browsers import BACKENDS, BOT, children, chromiums, pool_of, run, short_folder, task
from tests.polling import eventually
from tests.servers.web import Page, WebServer

QUICK_TO_START = shutil.which("chromium-headless-shell")
KILLS = int(os.environ.get("BROWSER_KILLS", "20"))
Web = Callable[..., WebServer]
MakeBackend = Callable[[], Backend]

LOOPING = "<h1>done</h1><script>addEventListener('load', () => setTimeout(() => { for (;;); }, 1000))</script>"
GREEDY = """<h1>greedy</h1><script>
const kept = [];
setInterval(() => { const one = new Uint8Array(64 * 1024 * 1024); one.fill(7); kept.push(one); }, 10);
</script>"""
POP_UPS = """<body onload="for (let i = 0; i < 100; i++) { open('/other?' + i); open('/other', '', 'noopener'); }
const link = document.createElement('a'); link.href = '/other'; link.target = '_blank'; document.body.append(link);
for (let i = 0; i < 100; i++) link.click(); document.body.append('opened');">"""


@pytest.fixture(params=BACKENDS, ids=lambda backend: backend.name)
def backend(request: pytest.FixtureRequest) -> Backend:
    made: Backend = request.param()
    return made


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as made:
        yield made


async def _rendered(pool: BrowserPool, url: str) -> int:
    """How many attempts a page takes when each failure is followed by another attempt, as the frontier does it."""
    for attempt in range(1, 100):
        try:
            assert (await pool.render(task(url), BOT)).status == 200
        except BrowserError:
            continue
        return attempt
    raise AssertionError("never rendered")


async def _browsers_after(pool: BrowserPool, url: str) -> list[psutil.Process]:
    """The browsers that run once the page is rendered."""
    assert (await pool.render(task(url), BOT)).status == 200
    return chromiums()


def test_a_browser_that_is_killed_in_the_middle_of_pages(backend: Backend, folder: Path, web: Web) -> None:
    """kill -9, again and again: every page is had in the end, by another attempt."""
    site = web({f"/{number}": Page(f"<h1>{number}</h1>") for number in range(2 * KILLS)})
    site.latency = 0.2

    async def crawl() -> None:
        async with pool_of(backend, folder, executable=QUICK_TO_START) as pool:
            waiting = asyncio.Queue[str]()
            for path in site.pages:
                waiting.put_nowait(path)
            done: list[str] = []

            async def work() -> None:
                while not waiting.empty():
                    path = waiting.get_nowait()
                    await _rendered(pool, site.url + path)
                    done.append(path)

            async def kill() -> None:
                for _ in range(KILLS):
                    seen = len(site.visits)
                    await eventually(lambda seen=seen: len(site.visits) > seen or len(done) == len(site.pages), "visit")
                    for process in chromiums():
                        process.kill()

            await asyncio.gather(kill(), *(work() for _ in range(3)))
            assert sorted(done) == sorted(site.pages)

    run(crawl(), 300)


def test_a_page_that_never_loads(backend: Backend, folder: Path, web: Web) -> None:
    site = web({"/": Page("quick"), "/slow": Page("<img src=/hanging.dat>")})
    never = asyncio.Event()

    async def crawl() -> None:
        async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await never.wait()
            writer.close()

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        site.pages["/slow"] = Page(f"<script src=http://127.0.0.1:{port}/></script>")
        async with pool_of(backend, folder) as pool:
            await pool.render(task(site.url + "/"), BOT)
            for url in (f"http://127.0.0.1:{port}/", site.url + "/slow"):
                began_at = monotonic()
                with pytest.raises(BrowserTimeout):
                    await pool.render(task(url, 2), BOT)
                assert monotonic() - began_at < 12
            assert (await pool.render(task(site.url + "/"), BOT)).status == 200
        never.set()
        server.close()

    run(crawl())


def test_a_script_that_loops_after_load(backend: Backend, folder: Path, web: Web) -> None:
    """Its own page fails where it waits for more; where it has been rendered, the next one gets another tab."""
    site = web({"/loop": Page(LOOPING), "/fine": Page("fine")})

    async def crawl() -> None:
        async with pool_of(backend, folder, pages=2) as pool:
            [browser] = await _browsers_after(pool, site.url + "/fine")
            for _ in range(2):
                with pytest.raises(BrowserTimeout):
                    await pool.render(task(site.url + "/loop", 3, wait_for=".never"), BOT)
                await _rendered(pool, site.url + "/loop")
                await asyncio.sleep(1.5)  # by now it loops, in a tab that nobody uses
                assert await _rendered(pool, site.url + "/fine") == 1
            if backend.shares_process:
                assert chromiums() == [browser]

    run(crawl())


def test_a_page_that_eats_memory(backend: Backend, folder: Path, web: Web) -> None:
    """Its process is killed before the machine has none left; its neighbours' are not."""
    site = web({"/greedy": Page(GREEDY), "/fine": Page("fine")})

    async def crawl() -> None:
        async with pool_of(backend, folder, page_memory=400 * 1024 * 1024) as pool:
            await pool.render(task(site.url + "/fine"), BOT)
            began_at = monotonic()
            with pytest.raises(BrowserGone):
                await pool.render(task(site.url + "/greedy", 30, wait_for=".never"), BOT)
            assert monotonic() - began_at < 20
            assert await _rendered(pool, site.url + "/fine") == 1

    run(crawl(), 90)


def test_a_page_that_opens_a_hundred_pop_ups(backend: Backend, folder: Path, web: Web) -> None:
    site = web({"/": Page(POP_UPS), "/other": Page("other")})

    async def crawl() -> None:
        async with pool_of(backend, folder) as pool:
            before = len(children())
            assert b"opened" in (await pool.render(task(site.url + "/"), BOT)).body
            await pool.render(task(site.url + "/"), BOT)
            assert len(children()) < before + 20
            assert len([visit for visit in site.visits if visit.path.startswith("/other")]) <= 4

    run(crawl())


def test_a_browser_that_is_stopped(backend: Backend, folder: Path, web: Web) -> None:
    """SIGSTOP: it answers nothing, and no call to it returns by itself."""
    site = web({"/": Page("here")})

    async def crawl() -> None:
        async with pool_of(backend, folder) as pool:
            [browser] = await _browsers_after(pool, site.url + "/")
            site.latency = 0.5
            page = asyncio.ensure_future(pool.render(task(site.url + "/", 3), BOT))
            await eventually(lambda: site.times["/"] == 2, "the page")
            browser.suspend()
            began_at = monotonic()
            with pytest.raises(BrowserError):
                await page
            assert monotonic() - began_at < 12
            [other] = await _browsers_after(pool, site.url + "/")
            assert other != browser
            other.suspend()  # while it has nothing to do
            await _rendered(pool, site.url + "/")

    run(crawl())


def test_a_driver_that_is_killed(folder: Path, web: Web) -> None:
    """Playwright's own process: its browser seems connected for ever."""
    site = web({"/": Page("here")})
    site.latency = 0.5

    async def crawl() -> None:
        async with pool_of(PlaywrightBackend(), folder) as pool:
            await pool.render(task(site.url + "/"), BOT)
            page = asyncio.ensure_future(pool.render(task(site.url + "/"), BOT))
            await eventually(lambda: site.times["/"] == 2, "the page")
            for process in children():
                if "run-driver" in process.cmdline():
                    process.kill()
            began_at = monotonic()
            with pytest.raises(BrowserError):
                await page
            assert monotonic() - began_at < 10
            await _rendered(pool, site.url + "/")

    run(crawl())


def test_a_browser_is_replaced_after_so_many_pages(backend: Backend, folder: Path, web: Web) -> None:
    site = web({"/": Page("here")})

    async def crawl() -> None:
        async with pool_of(backend, folder, retire_pages=3, page_uses=2) as pool:
            seen = set()
            for _ in range(7):
                assert (await pool.render(task(site.url + "/"), BOT)).status == 200
                seen |= {process.pid for process in chromiums()}
            assert len(seen) == 3

    run(crawl(), 90)


@pytest.mark.parametrize(("limit", "reason"), [({"retire_seconds": 0.5}, "age"), ({"retire_memory": 1}, "memory")])
def test_a_browser_is_replaced_for_its_age_and_its_memory(
    backend: Backend, folder: Path, web: Web, limit: dict[str, Any], reason: str
) -> None:
    """When it does nothing, and not before its page is done."""
    site = web({"/": Page("here")})
    ended = metrics.BROWSER_ENDS.labels(reason)

    async def crawl() -> None:
        async with pool_of(backend, folder, **limit) as pool:
            before = ended._value.get()
            site.may_answer.clear()
            page = asyncio.ensure_future(pool.render(task(site.url + "/", 60), BOT))
            await eventually(lambda: site.visits, "the page")
            await asyncio.sleep(3 * WATCH_INTERVAL)
            [first] = chromiums()
            site.may_answer.set()
            assert (await page).status == 200
            await eventually(lambda: first.pid not in [process.pid for process in chromiums()], "its end")
            assert ended._value.get() == before + 1
            assert first not in await _browsers_after(pool, site.url + "/")

    run(crawl(), 90)


def test_a_worker_that_is_killed_takes_its_browsers_along(folder: Path, web: Web) -> None:
    """kill -9 of the worker itself: the guardian ends the browsers and removes the folder."""
    site = web({"/": Page("here")})
    pid = os.fork()
    if pid == 0:  # the worker
        os.setsid()

        async def worker() -> None:
            async with pool_of(BACKENDS[0](), folder) as pool:
                await pool.render(task(site.url + "/"), BOT)
                (folder / "ready").touch()
                await asyncio.sleep(60)

        try:
            asyncio.run(worker())
        finally:
            os._exit(1)

    async def watch() -> None:
        await eventually((folder / "ready").exists, "the worker's page", 30)
        processes = psutil.Process(pid).children(recursive=True)
        assert any("chrom" in process.name() for process in processes)
        os.kill(pid, signal.SIGKILL)
        (folder / "ready").unlink()
        await eventually(lambda: not list(folder.iterdir()), "an empty folder")
        await eventually(lambda: not [one for one in processes if _runs(one)], "no process")

    run(watch())
    os.waitpid(pid, 0)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False

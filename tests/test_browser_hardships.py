"""Browsers that are killed, hang, fill the memory or lose their driver.

Each page fails as one to be tried again, others go on, and nothing is left behind.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from browser_pool.backend import Backend
from browser_pool.errors import BrowserError, BrowserGone, BrowserTimeout
from browser_pool.playwright import PlaywrightBackend
from browser_pool.pool import BrowserPool
from crawlers import metrics
from tests.browsers import BACKENDS, BOT, children, chromiums, drivers, pool_of, run, short_folder, task
from tests.polling import PATIENCE, eventually, until
from tests.servers.web import Page, WebServer

ROOT = Path(__file__).parents[1]
QUICK_TO_START = shutil.which("chromium-headless-shell")
KILLS = int(os.environ.get("BROWSER_KILLS", "6"))
Web = Callable[..., WebServer]
MakeBackend = Callable[[], Backend]

LOOPING = """<h1>done</h1><script>addEventListener('load', () => setTimeout(() => fetch('/begin').then(() => {
    const telling = new XMLHttpRequest();
    telling.open('GET', '/looping', false);
    telling.send();
    for (;;);
})))</script>"""
GREEDY = """<h1>greedy</h1><script>
const kept = [];
setInterval(() => { const one = new Uint8Array(64 * 1024 * 1024); one.fill(7); kept.push(one); }, 10);
</script>"""
POP_UPS = """<body onload="for (let i = 0; i < 100; i++) { open('/other?' + i); open('/other', '', 'noopener'); }
const link = document.createElement('a'); link.href = '/other'; link.target = '_blank'; document.body.append(link);
for (let i = 0; i < 100; i++) link.click(); document.body.append('opened');">"""


WORKER = """
import asyncio, sys
from pathlib import Path
from browser_pool.playwright import PlaywrightBackend
from tests.browsers import BOT, pool_of, task

async def work(folder, url):
    async with pool_of(PlaywrightBackend(), folder) as pool:
        await pool.render(task(url), BOT)
        print("rendered", flush=True)
        await asyncio.sleep(600)

asyncio.run(work(Path(sys.argv[1]), sys.argv[2]))
"""


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

    run(crawl(), 300 + 10 * KILLS)


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
        async with pool_of(backend, folder, executable=QUICK_TO_START) as pool:
            await pool.render(task(site.url + "/"), BOT)
            for url in (f"http://127.0.0.1:{port}/", site.url + "/slow"):
                with pytest.raises(BrowserTimeout):
                    await pool.render(task(url, 1), BOT)
            assert (await pool.render(task(site.url + "/"), BOT)).status == 200
        never.set()
        server.close()

    run(crawl())


def test_a_script_that_loops_after_load(backend: Backend, folder: Path, web: Web) -> None:
    """Its own page fails where it waits for more; where it has been rendered, the next one gets another tab."""
    may_begin = threading.Event()

    def begin(_: int) -> Page:
        assert may_begin.wait(PATIENCE)
        return Page("")

    site = web({"/loop": Page(LOOPING), "/fine": Page("fine"), "/begin": begin, "/looping": Page("")})

    async def crawl() -> None:
        async with pool_of(backend, folder, pages=2) as pool:
            [browser] = await _browsers_after(pool, site.url + "/fine")
            may_begin.set()
            with pytest.raises(BrowserTimeout):
                await pool.render(task(site.url + "/loop", 3, wait_for=".never"), BOT)
            may_begin.clear()
            before = site.times["/looping"]
            await _rendered(pool, site.url + "/loop")
            may_begin.set()  # in a tab that nobody uses
            await eventually(lambda: site.times["/looping"] > before, "its loop")
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
            with pytest.raises(BrowserGone):
                await pool.render(task(site.url + "/greedy", PATIENCE, wait_for=".never"), BOT)
            assert await _rendered(pool, site.url + "/fine") == 1

    run(crawl())


def test_a_page_that_opens_a_hundred_pop_ups(backend: Backend, folder: Path, web: Web) -> None:
    site = web({"/": Page(POP_UPS), "/other": Page("other")})

    async def crawl() -> None:
        async with pool_of(backend, folder) as pool:
            for _ in range(2):
                assert b"opened" in (await pool.render(task(site.url + "/", PATIENCE), BOT)).body
            assert len([visit for visit in site.visits if visit.path.startswith("/other")]) < 60
            await eventually(lambda: len(children()) < 40, "an end of the pop-ups' processes")

    run(crawl())


def test_a_browser_that_is_stopped(backend: Backend, folder: Path, web: Web) -> None:
    """SIGSTOP: it answers nothing, and no call to it returns by itself."""
    site = web({"/": Page("here")})

    async def crawl() -> None:
        async with pool_of(backend, folder, executable=QUICK_TO_START) as pool:
            [browser] = await _browsers_after(pool, site.url + "/")
            site.may_answer.clear()
            page = asyncio.ensure_future(pool.render(task(site.url + "/", 3), BOT))
            await eventually(lambda: site.times["/"] == 2, "the page")
            browser.suspend()
            site.may_answer.set()
            with pytest.raises(BrowserError):
                await page
            await _rendered(pool, site.url + "/")
            await eventually(lambda: browser not in chromiums(), "its end")
            [other] = chromiums()
            other.suspend()  # while it has nothing to do
            await _rendered(pool, site.url + "/")

    run(crawl())


def test_a_driver_that_is_killed(folder: Path, web: Web) -> None:
    """Playwright's own process: its browser seems connected for ever."""
    site = web({"/": Page("here")})

    async def crawl() -> None:
        async with pool_of(PlaywrightBackend(), folder, executable=QUICK_TO_START) as pool:
            await pool.render(task(site.url + "/"), BOT)
            site.may_answer.clear()
            page = asyncio.ensure_future(pool.render(task(site.url + "/", PATIENCE), BOT))
            await eventually(lambda: site.times["/"] == 2, "the page")
            for process in drivers():
                process.kill()
            with pytest.raises(BrowserGone):
                await page
            site.may_answer.set()
            await _rendered(pool, site.url + "/")

    run(crawl())


def test_a_browser_is_replaced_after_so_many_pages(backend: Backend, folder: Path, web: Web) -> None:
    site = web({"/": Page("here")})

    async def crawl() -> None:
        async with pool_of(backend, folder, executable=QUICK_TO_START, retire_pages=3, page_uses=2) as pool:
            seen = set()
            for _ in range(4):
                assert (await pool.render(task(site.url + "/"), BOT)).status == 200
                seen |= {process.pid for process in chromiums()}
            assert len(seen) == 2

    run(crawl())


@pytest.mark.parametrize(("limit", "reason"), [({"retire_seconds": 0.5}, "age"), ({"retire_memory": 1}, "memory")])
def test_a_browser_is_replaced_for_its_age_and_its_memory(
    backend: Backend, folder: Path, web: Web, limit: dict[str, Any], reason: str
) -> None:
    """When it does nothing, and not before its page is done."""
    site = web({"/": Page("here")})
    ended = metrics.BROWSER_ENDS.labels(reason)

    async def crawl() -> None:
        async with pool_of(backend, folder, executable=QUICK_TO_START, **limit) as pool:
            before = ended._value.get()
            site.may_answer.clear()
            page = asyncio.ensure_future(pool.render(task(site.url + "/", PATIENCE), BOT))
            await eventually(lambda: site.visits, "the page")
            await eventually(lambda: pool._running[0].end == reason, "the decision")
            [first] = chromiums()
            site.may_answer.set()
            assert (await page).status == 200
            await eventually(lambda: first not in chromiums(), "its end")
            assert ended._value.get() == before + 1

    run(crawl())


def test_a_worker_that_is_killed_takes_its_browsers_along(folder: Path, web: Web) -> None:
    """kill -9 of the worker itself: the guardian ends the browsers and removes the folder."""
    site = web({"/": Page("here")})
    command = [sys.executable, "-c", WORKER, str(folder), site.url + "/"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "rendered\n"
        processes = psutil.Process(worker.pid).children(recursive=True)
        assert any("chrom" in process.name() for process in processes)
        worker.kill()
    until(lambda: not list(folder.iterdir()), "an empty folder")
    until(lambda: not [one for one in processes if _runs(one)], "no process")


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False

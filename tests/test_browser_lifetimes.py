"""Browsers are launched, looked after and ended: what fails on the way leaves nothing running, and harms no other."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from browser_pool import chromium, running
from browser_pool.backend import Cookie
from browser_pool.egress import Egress
from browser_pool.errors import BrowserGone, BrowserTimeout
from browser_pool.folder import PrivateFolder
from browser_pool.playwright import Driver, PlaywrightBackend
from browser_pool.processes import ProcessTree
from browser_pool.selenium import SeleniumBackend
from crawlers import metrics
from crawlers.identity import Identity
from tests.browsers import BOT, anywhere, children, chromiums, guardians, pool_of, run, short_folder, task
from tests.polling import PATIENCE, eventually, until
from tests.servers.forward_proxy import ForwardProxy
from tests.servers.web import Page, WebServer

Web = Callable[..., WebServer]


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as made:
        yield made


@pytest.fixture
def home(folder: Path) -> Iterator[PrivateFolder]:
    made = PrivateFolder(str(folder))
    yield made
    made.remove()
    assert not os.listdir(folder)


def sleeper(home: PrivateFolder, name: str = "one") -> ProcessTree:
    """A process that does nothing for long."""
    (home.path / name).mkdir()
    return ProcessTree(["sleep", "600"], home.path / name, home)


def end_guardian() -> None:
    [guardian] = until(guardians, "no guardian has begun")
    guardian.kill()
    guardian.wait()


def ignores(pid: int, number: int) -> bool:
    """As the kernel has it."""
    [mask] = re.findall(r"SigIgn:\s*([0-9a-f]+)", Path(f"/proc/{pid}/status").read_text())
    return bool(int(mask, 16) >> (number - 1) & 1)


def test_a_pool_that_is_closed_during_a_launch_leaves_no_browser(folder: Path) -> None:
    """`pool_of` looks for what is left."""

    async def crawl() -> None:
        async with pool_of(PlaywrightBackend(), folder) as pool:
            warming = asyncio.ensure_future(pool.warm())
            await eventually(chromiums, "a browser that starts")
        await warming

    run(crawl())


def test_what_still_runs_when_the_folder_is_removed_is_killed(folder: Path) -> None:
    home = PrivateFolder(str(folder))
    left = sleeper(home)
    home.remove()
    until(lambda: left.has_ended, "its end")
    assert not os.listdir(folder)


def test_signals_to_the_whole_service_do_not_end_the_guardian(home: PrivateFolder) -> None:
    """A service manager's stop goes to all of its processes at once."""
    [guardian] = until(guardians, "no guardian has begun")
    stops = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
    until(lambda: all(ignores(guardian.pid, number) for number in stops), "its first line")
    for number in stops:
        guardian.send_signal(number)
    tree = sleeper(home)
    assert guardians() == [guardian]
    run(tree.kill())


def test_a_guardian_that_was_killed_is_replaced(folder: Path) -> None:
    """The new one knows of what has run all along."""
    home = PrivateFolder(str(folder))
    first = sleeper(home)
    end_guardian()
    second = sleeper(home, "two")
    end_guardian()
    run(second.kill())
    assert second.has_ended
    home.remove()
    until(lambda: first.has_ended, "its end")
    assert not os.listdir(folder)


def test_what_nobody_guards_does_not_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = PrivateFolder(str(folder))
    end_guardian()
    before = children()
    monkeypatch.setattr(PrivateFolder, "_start_guardian", lambda _: subprocess.Popen(["/nowhere/sh"]))
    with pytest.raises(OSError, match="/nowhere/sh"):
        sleeper(home)
    assert [process for process in children() if process not in before] == []
    home.remove()
    assert not os.listdir(folder)


def test_a_tab_is_closed_or_leased_and_never_both(folder: Path, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    site = web({})
    monkeypatch.setattr(running, "_IDLE_TAB", 0.0)

    async def crawl() -> None:
        async with pool_of(PlaywrightBackend(), folder) as pool:
            pool._watching.cancel()
            await asyncio.gather(*(pool.render(task(site.url + "/"), BOT) for _ in range(2)))
            tidying = asyncio.ensure_future(pool._running[0].tidy())
            await asyncio.sleep(0)  # it closes the first of two
            page = await pool.render(task(site.url + "/"), BOT)
            await tidying
            assert page.status == 404

    run(crawl())


def test_a_tab_is_used_so_many_times_and_then_replaced(folder: Path, web: Web) -> None:
    """A tab's sessionStorage is its own and ends with it."""
    counting = "sessionStorage.uses = +(sessionStorage.uses || 0) + 1"
    site = web({"/": Page(f"<script>document.write('use ' + ({counting}))</script>")})

    async def crawl() -> None:
        async with pool_of(PlaywrightBackend(), folder, pages=1, page_uses=2) as pool:
            bodies = [(await pool.render(task(site.url + "/"), BOT)).body for _ in range(4)]
            assert [re.findall(rb">(use \d)", body) for body in bodies] == [[b"use 1"], [b"use 2"]] * 2

    run(crawl())


def test_browsers_are_looked_after_though_a_look_has_failed(folder: Path, web: Web) -> None:
    site = web({})
    ended = metrics.BROWSER_ENDS.labels("age")

    class Failing(Egress):
        async def tidy(self, labels: set[str]) -> None:
            looks.append(labels)
            raise ZeroDivisionError

    async def crawl() -> None:
        before = ended._value.get()
        async with pool_of(PlaywrightBackend(), folder, Failing(anywhere), retire_seconds=2.0) as pool:
            await eventually(lambda: looks, "a look that fails")
            await pool.render(task(site.url + "/"), BOT)
            await eventually(lambda: ended._value.get() == before + 1, "the end of a browser of its age", 20)

    looks: list[set[str]] = []
    run(crawl())


STUCK = """#!/usr/bin/env python3
import time
time.sleep(600)
"""


def program(path: Path, text: str) -> Path:
    """An executable file."""
    path.write_text(text)
    path.chmod(0o700)
    return path


def test_a_driver_that_never_starts_costs_the_launch_and_leaves_no_process(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLAYWRIGHT_NODEJS_PATH", str(program(tmp_path / "node", STUCK)))

    async def crawl() -> None:
        async with pool_of(PlaywrightBackend(), folder, launch_timeout=2.0) as pool:
            with pytest.raises(BrowserTimeout):
                await pool.render(task("http://127.0.0.1:9/"), BOT)

    run(crawl(), 30)


def test_children_that_have_just_ended_are_no_drivers() -> None:
    """Somebody else reaps them, later."""
    others: list[subprocess.Popen[bytes]] = []

    def end_at_once() -> None:
        others.extend(subprocess.Popen(["true"]) for _ in range(20))

    async def start_others() -> None:
        end_at_once()

    async def start() -> None:
        driver, _ = await asyncio.gather(Driver.start(30), start_others())
        assert await driver.is_well()
        await driver.end()
        assert driver.has_ended

    run(start())
    for other in others:
        other.wait()


def test_a_launch_that_fails_harms_no_other_browser(folder: Path, tmp_path: Path, web: Web) -> None:
    site = web({"/": Page("here")})
    starter = program(tmp_path / "chromium", '#!/bin/sh\nexec chromium "$@"\n')

    async def crawl() -> None:
        async with pool_of(PlaywrightBackend(), folder, executable=str(starter), processes=2, pages=1) as pool:
            site.may_answer.clear()
            page = asyncio.ensure_future(pool.render(task(site.url + "/"), BOT))
            await eventually(lambda: site.visits, "the page")
            program(starter, "#!/bin/sh\nexit 1\n")
            with pytest.raises(BrowserGone):
                await pool.render(task(site.url + "/"), BOT)
            site.may_answer.set()
            assert (await page).status == 200

    run(crawl())


def test_a_pop_up_that_opens_while_a_page_is_made_is_closed(
    folder: Path, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a Chromium that lets it open."""
    monkeypatch.setattr(chromium, "_SWITCHES", tuple(one for one in chromium._SWITCHES if "new-web" not in one))
    site = web({"/": Page("here")})

    async def crawl() -> None:
        async with pool_of(PlaywrightBackend(), folder) as pool:
            await pool.render(task(site.url + "/"), BOT)
            tab = await pool._running[0].lease(BOT)
            context = tab.profile.context
            make = context._context.new_page

            async def make_slowly() -> Any:
                page = await make()
                await tab.page._page.evaluate("void open('/')")
                await eventually(lambda: len(context._context.pages) == 3, "a pop-up")
                return page

            monkeypatch.setattr(context._context, "new_page", make_slowly)
            await context.new_page()
            await eventually(lambda: len(context._context.pages) == 2, "its end", 10)

    run(crawl())


def test_one_identitys_browser_goes_where_its_proxy_has_gone(folder: Path, web: Web) -> None:
    """Of a backend whose browsers each have one identity: all that such a browser sends takes the one way."""
    site = web({"/": Page("<script>document.write(document.cookie)</script>")})

    async def crawl() -> None:
        async with ForwardProxy("socks5", "user", "secret") as upstream, pool_of(SeleniumBackend(), folder) as pool:
            await pool.render(task(site.url + "/", cookies=(Cookie("kept", "1"),)), Identity("one"))
            [before] = chromiums()
            abroad = Identity("one", proxy=upstream.url, proxy_label="abroad")
            page = await pool.render(task(site.url + "/", cookies=(Cookie("kept", "1"),)), abroad)
            assert b"kept=1" in page.body
            assert before not in chromiums()
            assert len(upstream.asked) > 0

    run(crawl())


@pytest.mark.parametrize(("user", "is_without"), [(0, True), (1000, False)])
def test_the_sandbox_is_off_for_root_alone(monkeypatch: pytest.MonkeyPatch, user: int, is_without: bool) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    assert [one for one in chromium.switches() if "sandbox" in one] == ["--no-sandbox"] * is_without


def test_chromium_resolves_no_name(tmp_path: Path, web: Web) -> None:
    """Not even one that it knows by itself, where no proxy is asked."""
    site = web({})
    named = site.url.replace("127.0.0.1", "shop.localhost")
    site.pages["/"] = Page(f"<link rel=preconnect href={named}><img src={named}/named.png><img src=/numbered.png>")
    directly = ["--no-proxy-server", f"--user-data-dir={tmp_path}", "--dump-dom", site.url + "/"]
    command = [chromium.find_executable(None), *chromium.switches(), *directly]
    subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE)
    assert "/numbered.png" in site.times
    assert "/named.png" not in site.times


def test_a_driver_on_this_machine_is_asked_directly(folder: Path, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever proxy the environment has for others."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    site = web({"/": Page("here")})

    async def crawl() -> None:
        async with pool_of(SeleniumBackend(), folder) as pool:
            assert (await pool.render(task(site.url + "/"), BOT)).status == 200

    run(crawl())

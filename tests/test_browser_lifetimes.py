"""Browsers are launched, looked after and ended: what fails on the way leaves nothing running, and harms no other."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from browser_pool import running
from browser_pool.egress import Egress
from browser_pool.folder import PrivateFolder
from browser_pool.playwright import PlaywrightBackend
from browser_pool.processes import ProcessTree
from crawlers import metrics
from tests.browsers import BOT, anywhere, children, chromiums, guardians, pool_of, run, short_folder, task
from tests.polling import eventually, until
from tests.servers.web import WebServer

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
    [guardian] = guardians()
    guardian.kill()
    guardian.wait()


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
    [guardian] = guardians()
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
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

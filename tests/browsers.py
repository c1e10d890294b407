"""A browser pool for tests, and what must not be left of it."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import psutil

from browser_pool.backend import Backend, PageTask
from browser_pool.egress import Egress
from browser_pool.options import PoolOptions
from browser_pool.playwright import PlaywrightBackend
from browser_pool.pool import BrowserPool
from browser_pool.selenium import SeleniumBackend
from browser_pool.undetected import UndetectedBackend
from crawlers.browser_rules import BrowserRules
from crawlers.fetching.addresses import AddressRules
from crawlers.identity import Identity
from tests.polling import PATIENCE

BOT = Identity("bot", user_agent="Seine (+https://example.org/seine-bot)")
BACKENDS: tuple[Callable[[], Backend], ...] = (PlaywrightBackend, SeleniumBackend, UndetectedBackend)


def anywhere(host: str, port: int) -> AddressRules:
    """Loopback's addresses may be dialled."""
    return AddressRules(["127.0.0.0/8"])


def task(url: str, timeout: float = 20.0, **changes: Any) -> PageTask:
    """A page with those rules; what is none of a rule's keys is the task's own."""
    rules = {key: changes.pop(key) for key in BrowserRules.__struct_fields__ if key in changes}
    return PageTask(url, BrowserRules(**rules), timeout, **changes)


@asynccontextmanager
async def pool_of(
    backend: Backend, folder: Path, egress: Egress | None = None, **options: Any
) -> AsyncIterator[BrowserPool]:
    """An open pool whose private folder is in `folder`. Once closed, nothing is left of it."""
    before = children()
    pool = BrowserPool(backend, PoolOptions(folder=str(folder), **options), egress or Egress(anywhere))
    pool.open()
    try:
        yield pool
    finally:
        await pool.close()
    assert not os.listdir(folder)
    left = [process for process in children() if process not in before]
    assert not left, left


@contextmanager
def short_folder() -> Iterator[Path]:
    """An empty folder whose path leaves room for a socket's."""
    with tempfile.TemporaryDirectory(prefix="b", dir="/tmp") as made:
        yield Path(made)


def children() -> list[psutil.Process]:
    """All descendants of this process, zombies among them."""
    return psutil.Process().children(recursive=True)


def chromiums() -> list[psutil.Process]:
    """The main processes of the Chromiums that run below this one."""
    return [process for process in children() if _is_main(process)]


def drivers() -> list[psutil.Process]:
    """Playwright's own processes."""
    return [process for process in children() if "run-driver" in command_of(process)]


def guardians() -> list[psutil.Process]:
    """The shells that watch over private folders of this process."""
    return [child for child in psutil.Process().children() if "guardian" in command_of(child)]


def command_of(process: psutil.Process) -> list[str]:
    """Its command line; [] of one that has ended."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _is_main(process: psutil.Process) -> bool:
    """A script that starts Chromium has the same switches."""
    program, *switches = command_of(process) or [""]
    is_browser = not any("--type=" in switch for switch in switches)
    return "chrom" in program and is_browser and any("--remote-debugging-port" in switch for switch in switches)


def run(work: Awaitable[Any], seconds: float = 3 * PATIENCE) -> Any:
    """Its result; it must come within `seconds`, which only what hangs takes."""

    async def limited() -> Any:
        return await asyncio.wait_for(work, seconds)

    return asyncio.run(limited())

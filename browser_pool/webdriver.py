"""What Selenium talks to: a chromedriver beside a Chromium that the pool has started, or a Grid on another machine."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import requests

from browser_pool.chromium import PREFERENCES, Chromium, switches
from browser_pool.errors import BrowserGone
from browser_pool.processes import ProcessTree

if TYPE_CHECKING:
    from selenium.webdriver import ChromeOptions

    from browser_pool.backend import Launch

_STARTED = "was started successfully on port "
_FAREWELL = 5.0
"""Seconds for a Grid to end a session."""


class LocalDriver:
    """Both processes are the pool's, with all that they start."""

    def __init__(self, chromium: Chromium):
        self._chromium = chromium
        self._chromedriver: ProcessTree | None = None
        self.url = ""

    @classmethod
    async def start(cls, program: str, launch: Launch) -> LocalDriver:
        """Start `program`, a chromedriver, and a Chromium. Raises BrowserGone."""
        chromium = await Chromium.launch(launch.executable, launch.folder, launch.home, launch.proxy, launch.languages)
        driver = cls(chromium)
        try:
            await driver._start(program, launch)
        except BaseException:
            await driver.kill()
            raise
        return driver

    async def _start(self, program: str, launch: Launch) -> None:
        folder = launch.folder / "driver"
        folder.mkdir()
        self._chromedriver = ProcessTree([program, "--port=0"], folder, launch.home)
        while _STARTED not in (said := self._chromedriver.last_words()):
            if self._chromedriver.has_ended:
                raise BrowserGone(f"chromedriver ended at once: {said}")
            await asyncio.sleep(0.02)
        self.url = f"http://127.0.0.1:{said.partition(_STARTED)[2].partition('.')[0]}"

    def prepare(self, options: ChromeOptions) -> None:
        """Have the session use the Chromium that runs."""
        options.debugger_address = urlsplit(self._chromium.endpoint).netloc

    @property
    def has_ended(self) -> bool:
        return self._chromium.has_ended or self._chromedriver is None or self._chromedriver.has_ended

    def memory(self) -> dict[int, int]:
        """Of Chromium's processes."""
        return self._chromium.memory()

    def kill_renderer(self, pid: int) -> bool:
        return self._chromium.kill_renderer(pid)

    async def kill(self, session: str = "") -> None:
        """End all processes."""
        if self._chromedriver is not None:
            await self._chromedriver.kill()
        await self._chromium.kill()


class GridDriver:
    """The other machine starts a Chromium for the session, with the switches that it would have here."""

    has_ended = False

    def __init__(self, launch: Launch):
        self.url = launch.remote.rstrip("/")
        self._switches = switches(launch.proxy, launch.languages)
        self._folder = launch.folder

    def prepare(self, options: ChromeOptions) -> None:
        """Have it start what would be started here."""
        for switch in self._switches:
            options.add_argument(switch)
        options.add_experimental_option("prefs", PREFERENCES)
        options.add_experimental_option("excludeSwitches", ["enable-automation"])

    def memory(self) -> dict[int, int]:
        """Nothing: it cannot be seen from here."""
        return {}

    def kill_renderer(self, pid: int) -> bool:
        return False

    async def kill(self, session: str = "") -> None:
        """Have the Grid end the session, and its Chromium with it; where it does not answer, its own timeout will."""
        if session:
            await asyncio.to_thread(self._end, session)
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    def _end(self, session: str) -> None:
        with suppress(requests.RequestException), requests.Session() as direct:
            direct.trust_env = False  # no proxy of the environment's
            direct.delete(f"{self.url}/session/{session}", timeout=_FAREWELL)

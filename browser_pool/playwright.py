"""The Playwright backend: Playwright's own API on a Chromium that the pool has started, and can kill.

One driver process and one Chromium make a browser; a page's session is set up once and used for several pages.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psutil
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import async_playwright

from browser_pool.backend import Backend, Browser, Context, Launch, without_remote
from browser_pool.chromium import Chromium, RemoteChromium
from browser_pool.emulation import HEIGHT, HINTS, WIDTH, Engine
from browser_pool.errors import BrowserGone, BrowserTimeout
from browser_pool.limits import within
from browser_pool.playwright_page import PlaywrightPage

if TYPE_CHECKING:
    from playwright.async_api import Playwright

    from crawlers.identity import Identity

_PING = 2.0
CALL = 10.0
"""Seconds for what takes milliseconds on a healthy browser."""
_SECURE = "https://engine.invalid/"
"""Client hints are for secure contexts. It is answered here, and nobody is asked for it."""


class PlaywrightBackend(Backend):
    """Many contexts in one Chromium; one driver for all Chromiums, replaced when it does not answer."""

    name = "playwright"
    shares_process = True

    def __init__(self) -> None:
        self._driver: Driver | None = None

    def check(self) -> None:
        """Its package has all that it needs."""

    async def launch(self, launch: Launch) -> PlaywrightBrowser:
        browser = PlaywrightBrowser()
        try:
            await within(launch.timeout, self._open(browser, launch), "launch")
        except BaseException as error:
            await browser.kill()
            if isinstance(error, PlaywrightError | OSError):
                raise BrowserGone(f"launch: {without_remote(_first_line(error), launch.remote)}") from None
            raise
        return browser

    async def _open(self, browser: PlaywrightBrowser, launch: Launch) -> None:
        starting = asyncio.ensure_future(self._running_driver(launch.timeout))
        try:
            await browser.start(launch)
            driver = await starting
        finally:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
        await browser.connect(driver, launch)

    async def _running_driver(self, seconds: float) -> Driver:
        if self._driver is not None and not await self._driver.is_well():
            await self.close()
        if self._driver is None:
            self._driver = await Driver.start(seconds)
        return self._driver

    async def close(self) -> None:
        if self._driver is not None:
            driver, self._driver = self._driver, None
            await driver.end()


class Driver:
    """Playwright's own process, which talks to browsers."""

    def __init__(self, playwright: Playwright, process: psutil.Process | None):
        self.playwright = playwright
        self._process = process

    @classmethod
    async def start(cls, seconds: float) -> Driver:
        """Raises BrowserTimeout, and Playwright's errors; no process is left running then."""
        before = _driver_processes()
        try:
            playwright = await within(seconds, async_playwright().start(), "start the driver")
        except BaseException:
            for process in _driver_processes() - before:
                with suppress(psutil.Error):
                    process.kill()
            raise
        return cls(playwright, next(iter(_driver_processes() - before), None))

    @property
    def has_ended(self) -> bool:
        return self._process is not None and not _runs(self._process)

    async def is_well(self) -> bool:
        """Whether it answers."""
        if self.has_ended:
            return False
        try:
            request = await within(_PING, self.playwright.request.new_context(), "ping the driver")
            await within(_PING, request.dispose(), "ping the driver")
        except (PlaywrightError, BrowserTimeout):
            return False
        return True

    async def end(self) -> None:
        """Ask it to end, and kill it where it does not."""
        try:
            if not self.has_ended:
                with suppress(Exception):
                    await within(_PING, self.playwright.stop(), "stop the driver")
        finally:
            if self._process is not None:
                with suppress(psutil.Error):
                    self._process.kill()


class PlaywrightBrowser(Browser):
    """A Chromium, and what the engine says of itself."""

    def __init__(self) -> None:
        self._chromium: Chromium | RemoteChromium | None = None
        self._driver: Driver | None = None
        self._connected: Any = None
        self._is_lost = False

    async def start(self, launch: Launch) -> None:
        """Start Chromium, where it is this machine's to start."""
        if launch.remote:
            self._chromium = RemoteChromium(launch.remote, launch.folder)
        else:
            self._chromium = await Chromium.launch(
                launch.executable, launch.folder, launch.home, languages=launch.languages
            )

    async def connect(self, driver: Driver, launch: Launch) -> None:
        """Have `driver` talk to it."""
        assert self._chromium is not None
        self._driver = driver
        self._connected = await driver.playwright.chromium.connect_over_cdp(
            self._chromium.endpoint,
            timeout=1000 * launch.timeout,
            artifacts_dir=launch.folder,
            is_local=not launch.remote,
            no_defaults=True,
        )
        self._connected.on("disconnected", self._lose)
        self.engine = await self._ask_engine()

    async def _ask_engine(self) -> Engine:
        """What this engine sends by itself: an override must say the same, but for its being headless."""
        context = await self._connected.new_context()
        page = await context.new_page()
        await page.route(_SECURE, lambda route: route.fulfill(body="<body>"))
        await page.goto(_SECURE)
        engine = Engine.of(await page.evaluate("navigator.userAgent"), await page.evaluate(HINTS))
        await context.close()
        return engine

    def _lose(self, _: Any = None) -> None:
        self._is_lost = True

    @property
    def is_lost(self) -> bool:
        gone = self._chromium is None or self._chromium.has_ended
        return self._is_lost or gone or (self._driver is not None and self._driver.has_ended)

    async def new_context(self, identity: Identity, proxy: str) -> PlaywrightContext:
        made = await within(
            CALL,
            _translated(
                self._connected.new_context(
                    proxy={"server": proxy},
                    accept_downloads=False,
                    service_workers="block",
                    viewport={"width": WIDTH, "height": HEIGHT},
                )
            ),
            "new context",
        )
        return PlaywrightContext(made, self.engine.override(identity))

    def memory(self) -> dict[int, int]:
        return self._chromium.memory() if self._chromium is not None else {}

    def kill_renderer(self, pid: int) -> bool:
        return self._chromium is not None and self._chromium.kill_renderer(pid)

    async def kill(self) -> None:
        self._is_lost = True
        if self._connected is not None and isinstance(self._chromium, RemoteChromium):
            with suppress(PlaywrightError, BrowserTimeout):
                await within(_PING, self._connected.close(), "disconnect")
        if self._chromium is not None:
            await self._chromium.kill()


class PlaywrightContext(Context):
    """One of Chromium's incognito profiles."""

    def __init__(self, context: Any, emulation: dict[str, Any]):
        self._context = context
        self._emulation = emulation
        self._own: set[Any] = set()
        self._opening = 0
        self._closing: set[asyncio.Task[None]] = set()
        context.on("page", self._close_foreign)

    async def new_page(self) -> PlaywrightPage:
        self._opening += 1
        try:
            page = await within(CALL, _translated(self._context.new_page()), "new page")
            self._own.add(page)
        finally:
            self._opening -= 1
            self._close_foreign()
        page.once("close", lambda closed: self._own.discard(closed))
        made = PlaywrightPage(page, self._context, self._emulation)
        await within(CALL, _translated(made.prepare()), "prepare a page")
        return made

    def _close_foreign(self, _: Any = None) -> None:
        """Close what pages have opened. Chromium refuses most pop-ups by itself.

        While a page is made here nobody knows which one that is: it waits until then.
        """
        if self._opening:
            return
        for page in self._context.pages:
            if page not in self._own:
                closing = asyncio.ensure_future(_close(page))
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        await within(CALL, _translated(self._context.close()), "close a context")


async def _close(page: Any) -> None:
    with suppress(PlaywrightError, BrowserTimeout):
        await within(CALL, page.close(), "close a pop-up")


async def _translated(call: Any) -> Any:
    try:
        return await call
    except PlaywrightError as error:
        raise BrowserGone(_first_line(error)) from None


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def _driver_processes() -> set[psutil.Process]:
    found = set()
    for child in psutil.Process().children():
        with suppress(psutil.Error):  # it has just ended
            if "run-driver" in child.cmdline():
                found.add(child)
    return found


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False

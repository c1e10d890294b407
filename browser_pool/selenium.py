"""The Selenium backend: one identity and one page at a time in a Chromium.

Selenium blocks, so each browser has a thread of its own. What hangs in it ends when its processes are killed.
"""

from __future__ import annotations

import asyncio
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from selenium.common.exceptions import TimeoutException, WebDriverException
from selenium.webdriver import ChromeOptions, Remote
from selenium.webdriver.common.proxy import Proxy, ProxyType
from selenium.webdriver.remote.client_config import ClientConfig
from urllib3.exceptions import HTTPError

from browser_pool.backend import Backend, Browser, Context, Launch, Page, PageTask, Rendered, without_remote
from browser_pool.emulation import HEIGHT, HINTS, WIDTH, Engine
from browser_pool.errors import BrowserError, BrowserGone, BrowserTimeout, PageFailed
from browser_pool.limits import within
from browser_pool.selenium_page import SeleniumVisit
from browser_pool.webdriver import GridDriver, LocalDriver
from crawlers.exceptions import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from crawlers.identity import Identity

T = TypeVar("T")
_CALL = 5.0
_SECURE = "chrome://version/"
"""Client hints are for secure contexts."""
_NO_SERVICE_WORKERS = "if (navigator.serviceWorker) navigator.serviceWorker.register = () => new Promise(() => {});"
"""They would ask in the engine's own name, whatever the page says."""
_SCREEN = {"width": WIDTH, "height": HEIGHT, "screenWidth": WIDTH, "screenHeight": HEIGHT}
_GONE = ("disconnected", "not connected", "chrome not reachable", "invalid session id", "crashed", "no such window")


class SeleniumBackend(Backend):
    """One Chromium, one chromedriver and one thread per identity."""

    name = "selenium"
    shares_process = False

    async def launch(self, launch: Launch) -> SeleniumBrowser:
        browser = SeleniumBrowser()
        try:
            await within(launch.timeout, self._open(browser, launch), "launch")
        except BaseException as error:
            await browser.kill()
            if isinstance(error, WebDriverException | OSError | HTTPError):
                raise BrowserGone(f"launch: {without_remote(_line(error), launch.remote)}") from None
            raise
        return browser

    async def _open(self, browser: SeleniumBrowser, launch: Launch) -> None:
        if launch.remote:
            browser.end = GridDriver(launch)
        else:
            browser.end = await LocalDriver.start(await asyncio.to_thread(self.program, launch), launch)
        await browser.connect(launch)

    def check(self) -> None:
        self._installed()

    def program(self, launch: Launch) -> str:
        """The chromedriver to start. Raises UserError where there is none."""
        return self._installed()

    def _installed(self) -> str:
        if (program := shutil.which("chromedriver")) is None:
            raise UserError(f"BROWSER_BACKEND={self.name}: no chromedriver on PATH: apt-get install chromium-driver")
        return program

    async def close(self) -> None:
        """Nothing is shared."""


class SeleniumBrowser(Browser):
    """A session of the driver at its `end`."""

    def __init__(self) -> None:
        self.end: LocalDriver | GridDriver | None = None
        self._thread = ThreadPoolExecutor(1, "selenium")
        self._driver: Any = None
        self._is_lost = False
        self.remote = ""
        """BROWSER_REMOTE_URL where it is that machine's."""

    async def connect(self, launch: Launch) -> None:
        """Open the session, and ask the engine who it is."""
        empty = launch.folder / "empty.html"  # hints are for secure contexts, which files are
        empty.touch()
        self.remote = launch.remote
        page = _SECURE if launch.remote else empty.as_uri()
        await self.call(launch.timeout, lambda: self._connect(launch.timeout, page))

    def _connect(self, seconds: float, page: str) -> None:
        assert self.end is not None
        options = ChromeOptions()
        self.end.prepare(options)
        options.unhandled_prompt_behavior = "dismiss"
        options.page_load_strategy = "none"
        options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
        directly = Proxy({"proxyType": ProxyType.DIRECT})  # else the environment's proxy would be asked
        config = ClientConfig(self.end.url, proxy=directly, timeout=int(seconds))
        self._driver = Remote(self.end.url, options=options, client_config=config)
        if self._is_lost:  # it was given up meanwhile, and nobody else knows of the session
            self._driver.quit()
        self._driver.execute_cdp_cmd("Page.navigate", {"url": page})
        name = self._driver.execute_script("return navigator.userAgent")
        self.engine = Engine.of(name, self._driver.execute_script(f"return {HINTS}"))

    async def call(self, seconds: float, work: Callable[[], T]) -> T:
        """What `work` returns, in the browser's thread. Raises BrowserTimeout, and what Selenium raises."""
        running = asyncio.get_running_loop().run_in_executor(self._thread, work)
        return await within(seconds, running, "selenium")

    @property
    def driver(self) -> Any:
        return self._driver

    @property
    def is_lost(self) -> bool:
        return self._is_lost or self.end is None or self.end.has_ended

    async def new_context(self, identity: Identity, proxy: str) -> SeleniumContext:
        return SeleniumContext(self, identity)

    def memory(self) -> dict[int, int]:
        return self.end.memory() if self.end is not None else {}

    def kill_renderer(self, pid: int) -> bool:
        return self.end is not None and self.end.kill_renderer(pid)

    async def kill(self) -> None:
        self._is_lost = True
        if self.end is not None:
            await self.end.kill(self._driver.session_id if self._driver is not None else "")
        self._thread.shutdown(wait=False, cancel_futures=True)


class SeleniumContext(Context):
    """All of the browser: it has the one identity."""

    def __init__(self, browser: SeleniumBrowser, identity: Identity):
        self._browser = browser
        self._identity = identity

    async def new_page(self) -> SeleniumPage:
        page = SeleniumPage(self._browser, self._identity)
        await page.open()
        return page

    async def close(self) -> None:
        """It ends with its browser."""


class SeleniumPage(Page):
    """A window of the browser."""

    def __init__(self, browser: SeleniumBrowser, identity: Identity):
        self._browser = browser
        self._identity = identity
        self._handle = ""
        self._blocked: list[str] | None = None

    async def open(self) -> None:
        """Make the window, and say who we are."""
        await self._call(_CALL, self._open)

    def _open(self) -> None:
        driver = self._browser.driver
        driver.switch_to.new_window("tab")
        self._handle = driver.current_window_handle
        override = self._browser.engine.override(self._identity)
        driver.execute_cdp_cmd("Emulation.setUserAgentOverride", override)
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride", {**_SCREEN, "deviceScaleFactor": 1, "mobile": False}
        )
        driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": _NO_SERVICE_WORKERS})
        driver.execute_cdp_cmd("Network.enable", {})

    async def render(self, task: PageTask) -> Rendered:
        if task.methods or task.goto:
            raise PageFailed("Playwright's page methods need BROWSER_BACKEND=playwright")
        visit = SeleniumVisit(self._browser.driver, task)
        return await self._call(task.timeout, visit.render)

    async def is_well(self) -> bool:
        try:
            return bool(await self._call(2.0, lambda: self._browser.driver.execute_script("return 1")))
        except BrowserError:
            return False

    async def close(self) -> None:
        await self._call(_CALL, self._close)

    def _close(self) -> None:
        driver = self._browser.driver
        driver.execute_cdp_cmd("Target.closeTarget", {"targetId": self._handle})
        with suppress(WebDriverException):
            driver.switch_to.window(driver.window_handles[0])

    async def _call(self, seconds: float, work: Callable[[], T]) -> T:
        try:
            return await self._browser.call(seconds, work)
        except TimeoutException as error:
            raise BrowserTimeout(_line(error)) from None
        except (WebDriverException, HTTPError, OSError, RuntimeError) as error:
            is_gone = not isinstance(error, WebDriverException) or any(sign in str(error) for sign in _GONE)
            said = without_remote(_line(error), self._browser.remote)
            raise (BrowserGone if is_gone else PageFailed)(said) from None


def _line(error: BaseException) -> str:
    return str(error).strip().removeprefix("Message: ").partition("\n")[0] or type(error).__name__

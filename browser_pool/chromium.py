"""Chromium's own matters: where it is, what it is started with, its processes."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from browser_pool.errors import BrowserGone
from browser_pool.processes import ProcessTree
from crawlers.exceptions import UserError

if TYPE_CHECKING:
    from browser_pool.folder import PrivateFolder

_NAMES = ("chromium", "google-chrome", "google-chrome-stable", "chromium-browser", "chromium-headless-shell")
_NOWHERE = "socks5://127.0.0.1:9"
"""Contexts have proxies of their own; the browser itself has nothing to fetch."""
_WHOLE_PAGES = ("--disable-site-isolation-trials", "--disable-shared-workers")
"""What a page says of its browser is said for its frames, too, only where they share its process, whatever their site
is; and for no worker that several pages share."""
_OWN = "accounts.google.com;clients*.google.com;update.googleapis.com"
"""What Chromium asks for by itself, whatever it is told. Past the proxy nothing is resolved: it gets nowhere."""
_SWITCHES = (
    *_WHOLE_PAGES,
    "--headless",
    "--window-size=1280,800",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-service-autorun",
    "--password-store=basic",
    "--use-mock-keychain",
    "--disable-background-networking",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--disable-breakpad",
    "--disable-crash-reporter",
    "--disable-client-side-phishing-detection",
    "--disable-component-extensions-with-background-pages",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--disable-domain-reliability",
    "--disable-extensions",
    "--disable-gpu",
    "--disable-ipc-flooding-protection",
    "--disable-prompt-on-repost",
    "--disable-sync",
    "--disable-features=Translate,OptimizationHints,MediaRouter,DialMediaRouteProvider,AcceptCHFrame,"
    "InterestFeedContentSuggestions,AutofillServerCommunication,DestroyProfileOnBrowserClose,PaintHolding,"
    "LensOverlay,HttpsUpgrades,WebUIOmniboxPopup,WebUIOmniboxAimPopup,WebUIOmniboxFullPopup,IsolateOrigins,"
    "site-per-process",
    "--disable-back-forward-cache",
    "--disable-blink-features=AutomationControlled",
    "--block-new-web-contents",
    "--hide-scrollbars",
    "--mute-audio",
    "--metrics-recording-only",
    "--force-color-profile=srgb",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    f"--proxy-bypass-list=<-loopback>;{_OWN}",
    "--webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
)

PREFERENCES = {"net": {"network_prediction_options": 2}}
"""Of a profile: no page is fetched ahead, whatever the speculation rules of another one propose."""


def find_executable(configured: str | None) -> str:
    """BROWSER_EXECUTABLE, or a Chromium on PATH. Raises UserError that says how to get one."""
    if configured:
        if not (found := shutil.which(configured)):
            raise UserError(f"BROWSER_EXECUTABLE={configured}: expected a program, and there is none")
        return found
    for name in _NAMES:
        if found := shutil.which(name):
            return found
    raise UserError(
        "no Chromium on PATH, which pages with a browser need: apt-get install chromium (Debian), "
        "playwright install chromium, or BROWSER_EXECUTABLE=/path/to/chromium"
    )


def switches(proxy: str = "", languages: str = "") -> list[str]:
    """Of every Chromium; the sandbox stays on for an ordinary user, as Chromium has none for root.

    `languages`, as `de-CH,de`, are what is sent where a page's own do not reach: by its workers.
    """
    root = ["--no-sandbox"] if os.geteuid() == 0 else []
    spoken = [f"--accept-lang={languages}"] if languages else []
    return [*_SWITCHES, *root, *spoken, f"--proxy-server={proxy or _NOWHERE}"]


def _lines(path: Path) -> list[str]:
    with suppress(FileNotFoundError):
        return path.read_text().split()
    return []


class Chromium:
    """A running Chromium with an open debugging port on loopback."""

    def __init__(self, tree: ProcessTree, folder: Path):
        self._tree = tree
        self._folder = folder
        self.endpoint = ""
        """Its DevTools address, `ws://…`."""

    @classmethod
    async def launch(
        cls, executable: str, folder: Path, home: PrivateFolder, proxy: str = "", languages: str = ""
    ) -> Chromium:
        """Start it, its own traffic through `proxy`; return when it can be talked to. Raises BrowserGone."""
        profile = folder / "profile"
        (profile / "Default").mkdir(parents=True)
        (profile / "Default" / "Preferences").write_text(json.dumps(PREFERENCES))
        command = [executable, *switches(proxy, languages), f"--user-data-dir={profile}", "--remote-debugging-port=0"]
        browser = cls(ProcessTree([*command, "about:blank"], folder, home), folder)
        try:
            browser.endpoint = await browser._listening(profile / "DevToolsActivePort")
            browser._tree.processes()
        except BaseException:
            await browser.kill()
            raise
        return browser

    async def _listening(self, said: Path) -> str:
        while len(lines := _lines(said)) != 2:
            if self._tree.has_ended:
                raise BrowserGone(f"it ended at once: {self._tree.last_words()}")
            await asyncio.sleep(0.02)
        return f"ws://127.0.0.1:{lines[0]}{lines[1]}"

    @property
    def group(self) -> int:
        """Its process group."""
        return self._tree.group

    @property
    def has_ended(self) -> bool:
        return self._tree.has_ended

    def memory(self) -> dict[int, int]:
        """Resident bytes of each of its processes."""
        sizes = {}
        for process in self._tree.processes():
            with suppress(psutil.Error):
                sizes[process.pid] = process.memory_info().rss
        return sizes

    def kill_renderer(self, pid: int) -> bool:
        """Kill the process where it is a renderer of this browser; whether it was."""
        for process in self._tree.processes():
            with suppress(psutil.Error):
                if process.pid == pid and "--type=renderer" in process.cmdline():
                    process.kill()
                    return True
        return False

    async def kill(self) -> None:
        """End all of its processes, and remove its folder."""
        await self._tree.kill()
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)


class RemoteChromium:
    """A Chromium on another machine: it is talked to, and all else is that machine's."""

    has_ended = False

    def __init__(self, endpoint: str, folder: Path):
        self._folder = folder
        self.endpoint = endpoint
        """Its DevTools address, `ws://…` or `http://…`."""

    def memory(self) -> dict[int, int]:
        """Nothing: it cannot be seen from here."""
        return {}

    def kill_renderer(self, pid: int) -> bool:
        return False

    async def kill(self) -> None:
        """Its contexts end with the connection; what is here is removed."""
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

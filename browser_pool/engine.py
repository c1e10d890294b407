"""What the Chromium that renders pages calls itself, for plain HTTP that shares an identity with it."""

from __future__ import annotations

import asyncio
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from browser_pool.backend import Launch
from browser_pool.backends import backend_of
from browser_pool.chromium import find_executable
from browser_pool.errors import BrowserError
from browser_pool.folder import PrivateFolder
from browser_pool.options import PoolOptions
from crawlers.exceptions import StartupError, UserError
from crawlers.identities.profiles import CHROME, CHROMIUM, BrowserProfile, engines_profile

if TYPE_CHECKING:
    from browser_pool.backend import Backend
    from browser_pool.emulation import Engine

_PATIENCE = 20.0
"""Seconds for Chromium to tell its version."""
_AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{major}.0.0.0 Safari/537.36"


def engine_profile(settings: Any) -> BrowserProfile | None:
    """The profile of the Chromium that renders pages; None where there is none on this machine, and no other named.

    Blocks: for less than a second, and for as long as a browser of another machine takes to start.
    Raises StartupError where that one does not tell.
    """
    return _remote_profile(settings) if settings.get("BROWSER_REMOTE_URL") else _installed_profile(settings)


def _installed_profile(settings: Any) -> BrowserProfile | None:
    try:
        executable = find_executable(settings["BROWSER_EXECUTABLE"])
        told = subprocess.run([executable, "--version"], capture_output=True, text=True, timeout=_PATIENCE).stdout
    except (UserError, OSError, subprocess.SubprocessError):
        return None
    version = re.search(r"(\d+)\.\d+\.\d+\.\d+", told)
    if version is None:
        return None
    family = CHROME if "Google Chrome" in told else CHROMIUM
    return BrowserProfile(family, int(version[1]), "Linux", _AGENT.format(major=version[1]))


def _remote_profile(settings: Any) -> BrowserProfile:
    """A session is opened there, and a page of it asked: what DevTools and WebDriver tell has no brands in it."""
    asking = _ask(backend_of(settings), PoolOptions.from_settings(settings))
    try:
        with ThreadPoolExecutor(1, "engine") as thread:  # this one's event loop may be running
            engine = thread.submit(asyncio.run, asking).result()
    except BrowserError as error:
        raise StartupError(f"BROWSER_REMOTE_URL: which browser is there could not be asked: {error}") from None
    profile = engines_profile(engine.user_agent, [brand["brand"] for brand in engine.hints["brands"]])
    if profile is None:
        raise StartupError(
            "BROWSER_REMOTE_URL: identities need Chromium, Google Chrome or Microsoft Edge there, "
            f"and that one calls itself {engine.user_agent}"
        )
    return profile


async def _ask(backend: Backend, options: PoolOptions) -> Engine:
    """Raises BrowserError."""
    home = PrivateFolder(options.folder)
    folder = home.path / "engine"
    folder.mkdir()
    try:
        browser = await backend.launch(Launch("", folder, home, options.launch_timeout, remote=options.remote))
        await browser.kill()
        return browser.engine
    finally:
        await backend.close()
        home.remove()

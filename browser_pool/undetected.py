"""The undetected-chromedriver backend: Selenium's, with a chromedriver that leaves no names of its own in a page.

Of undetected-chromedriver its patcher is used, on a private copy of the installed driver. Its own way of starting
browsers is not: it hands them this process's environment, has no limits, and leaves zombies.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from browser_pool.selenium import SeleniumBackend
from crawlers.exceptions import UserError

try:
    from undetected_chromedriver.patcher import Patcher
except ImportError as error:
    raise UserError(
        f"BROWSER_BACKEND=undetected: {error}: pip install -c constraints.txt undetected-chromedriver setuptools"
    ) from None

if TYPE_CHECKING:
    from pathlib import Path

    from browser_pool.backend import Launch


class UndetectedBackend(SeleniumBackend):
    """A backend of the Selenium kind, on this machine only."""

    name = "undetected"

    def program(self, launch: Launch) -> str:
        """A patched copy of the installed driver, made once per worker; launches come one at a time."""
        installed = self._installed()
        copy = launch.home.path / "chromedriver"
        if not copy.exists():
            fresh = copy.with_suffix(".new")
            shutil.copy(installed, fresh)
            _patch(fresh)
            fresh.rename(copy)
        return str(copy)


class _PrivatePatcher(Patcher):
    """Patches the given driver, and downloads none: it has no other."""

    def __init__(self, driver: Path):
        self.data_path = str(driver.parent)  # else a folder in the user's home
        super().__init__(str(driver))


def _patch(driver: Path) -> None:
    patcher = _PrivatePatcher(driver)
    patcher.auto()
    if not patcher.is_binary_patched():
        raise UserError("BROWSER_BACKEND=undetected: this chromedriver is not one that undetected-chromedriver knows")

"""The backends by name. Each is imported when it is chosen: its packages are large."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scrapy.utils.misc import load_object

from crawlers.exceptions import UserError

if TYPE_CHECKING:
    from browser_pool.backend import Backend

BACKENDS = {
    "playwright": "browser_pool.playwright.PlaywrightBackend",
    "selenium": "browser_pool.selenium.SeleniumBackend",
    "undetected": "browser_pool.undetected.UndetectedBackend",
}
DEFAULT = "playwright"


def backend_of(settings: Any) -> Backend:
    """The one that BROWSER_BACKEND names. Raises UserError where there is none of that name."""
    name = settings["BROWSER_BACKEND"]
    if name not in BACKENDS:
        raise UserError(f"BROWSER_BACKEND={name}: expected one of {', '.join(BACKENDS)}")
    backend: Backend = load_object(BACKENDS[name])()
    return backend

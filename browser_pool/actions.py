"""What a site's rules have a page do, on Playwright's page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from playwright.async_api import Error as PlaywrightError

if TYPE_CHECKING:
    from crawlers.browser_rules import Action

_CONSENT = 2.0
"""Seconds that a consent banner is waited for: most visits show none."""
_GROWTH = """async patience => {
    const before = document.documentElement.scrollHeight;
    scrollTo(0, before);
    const until = performance.now() + patience;
    while (performance.now() < until) {
        await new Promise(done => setTimeout(done, 50));
        if (document.documentElement.scrollHeight > before) return true;
    }
    return false;
}"""
_PATIENCE = 1000
"""Milliseconds until a page that was scrolled counts as all there."""


async def perform(page: Any, action: Action, seconds: float) -> None:
    """Do `action`, within `seconds`. Raises Playwright's errors."""
    limit = 1000 * seconds
    match action.kind:
        case "wait_for":
            await page.wait_for_selector(action.wait_for, timeout=limit)
        case "click":
            await page.click(action.click, timeout=limit)
        case "fill":
            await page.fill(action.fill, action.value, timeout=limit)
        case "scroll":
            await _scroll(page, action.scroll)
        case "consent":
            await _dismiss(page, action.consent)


async def _scroll(page: Any, times: int) -> None:
    for _ in range(times):
        if not await page.evaluate(_GROWTH, _PATIENCE):
            return


async def _dismiss(page: Any, selector: str) -> None:
    try:
        await page.click(selector, timeout=1000 * _CONSENT)
    except PlaywrightError as error:
        if "Timeout" not in str(error):
            raise

"""What a site's rules have a page do, on Playwright's page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from playwright.async_api import Error as PlaywrightError

if TYPE_CHECKING:
    from crawlers.browser_rules import Action

_CONSENT = 2.0
"""Seconds that a consent banner is waited for: most visits show none."""
_GROWTH = """async ([turns, limit]) => {
    const before = document.documentElement.scrollHeight;
    scrollTo(0, before);
    const until = performance.now() + limit;
    for (let turn = 0; turn < turns && performance.now() < until; turn++) {
        await new Promise(done => setTimeout(done, 50));
        if (document.documentElement.scrollHeight > before) return true;
    }
    return false;
}"""
_TURNS = 30
"""Turns of a page's timers, of 50 ms or what a busy machine makes of them, until what was scrolled counts as all."""
_SHARE = 0.25
"""Of an action's time, at most, goes to waiting for growth that does not come."""


async def perform(page: Any, action: Action, seconds: float) -> None:
    """Do `action`, which is none that waits, within `seconds`. Raises Playwright's errors."""
    limit = 1000 * seconds
    match action.kind:
        case "click":
            await page.click(action.click, timeout=limit)
        case "fill":
            await page.fill(action.fill, action.value, timeout=limit)
        case "scroll":
            await _scroll(page, action.scroll, limit)
        case "consent":
            await _dismiss(page, action.consent)


async def _scroll(page: Any, times: int, limit: float) -> None:
    for _ in range(times):
        if not await page.evaluate(_GROWTH, [_TURNS, _SHARE * limit]):
            return


async def _dismiss(page: Any, selector: str) -> None:
    try:
        await page.click(selector, timeout=1000 * _CONSENT)
    except PlaywrightError as error:
        if "Timeout" not in str(error):
            raise

"""A page's document, asked over CDP in a script world of its own, which the page's scripts neither see nor change.

Playwright's own waiting for a selector has every new document read the 340 kB of its scripts first, which costs the
driver, the browser and the renderer more than the rest of what a light page is asked.
"""

from __future__ import annotations

from typing import Any

from browser_pool.errors import PageFailed

_CONTENT = """() => (document.doctype ? new XMLSerializer().serializeToString(document.doctype) : '')
    + (document.documentElement ? document.documentElement.outerHTML : '')"""
_REFRESH = """() => document.querySelector('meta[http-equiv="refresh" i]')?.content ?? ''"""
_WAIT_FOR = """async selector => {
    const hasShadows = () => [...document.querySelectorAll('*')].some(element => element.shadowRoot);
    const isShown = element => {
        const box = element.getBoundingClientRect();
        const isVisible = element.checkVisibility() && getComputedStyle(element).visibility === 'visible';
        return isVisible && box.width > 0 && box.height > 0;
    };
    for (;;) {
        let element;
        try { element = document.querySelector(selector); } catch { return false; }
        if (element ? getComputedStyle(element).display === 'contents' : hasShadows()) return false;
        if (element && isShown(element)) return true;
        await new Promise(done => setTimeout(done, 20));
    }
}"""


class Document:
    """The document that a tab shows; `renew` is told when it shows another one.

    Raises Playwright's errors, and PageFailed.
    """

    def __init__(self, session: Any, frame: str):
        self._session = session
        self._frame = frame
        self._world: int | None = None

    def renew(self) -> None:
        """The tab has navigated."""
        self._world = None

    async def refresh(self) -> str:
        """What its `<meta http-equiv="refresh">` says, or '', once its scripts let it answer."""
        return str(await self._call(_REFRESH))

    async def content(self) -> str:
        return str(await self._call(_CONTENT))

    async def wait_for(self, selector: str) -> bool:
        """True once the first element of that CSS selector is visible.

        False where that is Playwright's to find: a selector of its own, a document with shadow roots.
        """
        return bool(await self._call(_WAIT_FOR, selector))

    async def _call(self, function: str, *arguments: Any) -> Any:
        called = await self._session.send(
            "Runtime.callFunctionOn",
            {
                "functionDeclaration": function,
                "executionContextId": await self._world_now(),
                "arguments": [{"value": value} for value in arguments],
                "awaitPromise": True,
                "returnByValue": True,
            },
        )
        if "exceptionDetails" in called:
            raise PageFailed(f"its document: {called['exceptionDetails']['text']}")
        return called["result"].get("value")

    async def _world_now(self) -> int:
        if self._world is None:
            made = await self._session.send("Page.createIsolatedWorld", {"frameId": self._frame})
            self._world = int(made["executionContextId"])
        return self._world

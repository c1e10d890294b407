"""One of Playwright's pages: set up once, then used for one navigation after another."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from playwright.async_api import Error as PlaywrightError
from playwright.async_api import TimeoutError as PlaywrightTimeout

from browser_pool.actions import perform
from browser_pool.backend import PICTURE, Captured, Cookie, Drawing, Page, PageTask, Rendered
from browser_pool.blocking import blocked_urls
from browser_pool.cookies import cdp_cookie
from browser_pool.document import Document
from browser_pool.errors import (
    NO_PAGE,
    BrowserError,
    BrowserGone,
    BrowserTimeout,
    NotAPage,
    PageFailed,
    PageTooLarge,
    RedirectLoop,
    failure_of,
)
from browser_pool.extras import LARGEST_CAPTURE, MOST_CAPTURED, screenshot_options
from browser_pool.limits import within
from browser_pool.page_methods import call_page_method
from browser_pool.refreshes import patience_with

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

_CALL = 10.0
_PING = 2.0
"""Seconds for a page's script engine to answer."""
_HOPS = 20
"""Navigations that scripts of one page may start."""
_ANSWER_WITHOUT_BODY = "ERR_HTTP_RESPONSE_CODE_FAILURE"
_DOWNLOADS = "Download is starting"
_ABORTED = ("ERR_ABORTED", "interrupted by another navigation", "frame was detached")
_NAVIGATING = (
    "Execution context was destroyed",
    "is navigating",
    "Cannot find context",
    "Inspected target navigated or closed",
    "Promise was collected",
)
_GONE = ("Target page, context or browser has been closed", "Target crashed", "Page crashed", "Connection closed")
_NO_BUFFERS = {"maxTotalBufferSize": 0, "maxResourceBufferSize": 0}
_DOCUMENTS = ("text/html", "application/xhtml+xml")


class PlaywrightPage(Page):
    """A tab with a CDP session of its own."""

    def __init__(self, page: Any, context: Any, emulation: dict[str, Any]):
        self._page = page
        self._context = context
        self._emulation = emulation
        self._session: Any = None
        self._target = ""
        self._document: Document
        self._blocked: list[str] | None = None
        self._visit = _Visit()
        self._is_crashed = False
        self._rendering: asyncio.Future[Any] | None = None

    async def prepare(self) -> None:
        """Say who we are, and watch the network."""
        self._page.on("request", self._requested)
        self._page.on("response", lambda response: self._visit.answered(response, self._page.main_frame))
        self._page.on("requestfailed", lambda request: self._visit.failed(request))
        self._page.on("framenavigated", self._navigated)
        self._page.on("download", lambda _: self._visit.downloads())
        self._page.on("crash", self._crash)
        self._session = await self._context.new_cdp_session(self._page)
        target = await self._session.send("Target.getTargetInfo")
        self._target = target["targetInfo"]["targetId"]
        self._document = Document(self._session, self._target)
        await self._session.send("Emulation.setUserAgentOverride", self._emulation)
        self._session.on("Network.responseReceived", self._answered)
        self._session.on("Network.dataReceived", self._received)
        await self._session.send("Network.enable", _NO_BUFFERS)  # else it blocks nothing

    def _requested(self, request: Any) -> None:
        self._visit.requested(request, self._page.main_frame)
        if self._visit.navigations > _HOPS + 1:
            self._cut_short(RedirectLoop(f"more than {_HOPS} redirects by its pages"))

    def _answered(self, event: dict[str, Any]) -> None:
        if event["type"] == "Document" and event.get("frameId") == self._target:
            self._visit.begins(event["requestId"])

    def _received(self, event: dict[str, Any]) -> None:
        """A document may be without end, and grow when it is decompressed: its size is seen before it is all there."""
        visit = self._visit
        visit.received(event["requestId"], event["dataLength"])
        if visit.max_bytes and visit.size > visit.max_bytes:
            self._cut_short(PageTooLarge(visit.size))

    def _cut_short(self, error: BrowserError) -> None:
        """End the page that is being rendered with `error`: what it waits for may never come."""
        if self._visit.error is None and self._rendering is not None:
            self._visit.error = error
            self._rendering.cancel()

    def _navigated(self, frame: Any) -> None:
        if frame is self._page.main_frame:
            self._document.renew()
            self._visit.navigated()

    def _crash(self, _: Any = None) -> None:
        """What a CDP session has asked a crashed page is never answered."""
        self._is_crashed = True
        if self._rendering is not None:
            self._rendering.cancel()

    async def is_well(self) -> bool:
        if self._is_crashed or self._page.is_closed():
            return False
        try:
            await within(_PING, self._session.send("Runtime.evaluate", {"expression": "1"}), "ping")
        except (PlaywrightError, BrowserTimeout):
            return False
        return True

    async def close(self) -> None:
        try:
            await within(_CALL / 2, self._page.close(), "close a page")
        except PlaywrightError as error:
            raise BrowserGone(_line(error)) from None

    async def render(self, task: PageTask) -> Rendered:
        self._visit = _Visit(task)
        return await self._told(within(task.timeout, self._render(task), "page"))

    async def draw(self, drawing: Drawing) -> bytes:
        self._visit = _Visit()
        return await self._told(within(drawing.timeout, self._draw(drawing), "drawing"))

    async def _told(self, call: Awaitable[T]) -> T:
        """What `call` returns, its errors as the pool knows them."""
        try:
            return await self._unless_it_crashes(call)
        except PlaywrightTimeout as error:
            raise BrowserTimeout(_line(error)) from None
        except PlaywrightError as error:
            if self._is_crashed or any(sign in str(error) for sign in _GONE):
                raise BrowserGone(_line(error)) from None
            raise failure_of(_line(error), self._visit.asked) from None

    async def _unless_it_crashes(self, call: Awaitable[T]) -> T:
        self._rendering = rendering = asyncio.ensure_future(call)
        try:
            return await rendering
        except asyncio.CancelledError:
            if self._is_crashed:
                raise BrowserGone("the page crashed") from None
            if self._visit.error is not None:
                raise self._visit.error from None
            raise
        finally:
            self._rendering = None

    async def _render(self, task: PageTask) -> Rendered:
        began_at = monotonic()
        visit = self._visit
        await self._block(blocked_urls(task.rules.block))
        await self._send_cookies(task)
        await self._navigate(task)
        await self._settle(task)
        if (response := visit.response) is None:
            raise PageFailed("no answer")
        headers = [(header["name"], header["value"]) for header in await response.headers_array()]
        kind = next((value for name, value in headers if name.lower() == "content-type"), "text/html")
        rendered = Rendered(response.url, response.status, headers, b"")
        if kind.partition(";")[0].strip().lower() in _DOCUMENTS:
            if response.status < 400 and not visit.is_bodiless:
                await self._work(task)
                await self._settle(task)
            rendered.body = await self._content(task)
        else:
            rendered.is_document = False
            rendered.body = await response.body()
        if task.max_bytes and len(rendered.body) > task.max_bytes:
            raise PageTooLarge(len(rendered.body))
        if (last := visit.response) is not response and last is not None:
            rendered.status = last.status
            rendered.headers = [(header["name"], header["value"]) for header in await last.headers_array()]
        if not visit.is_bodiless:
            rendered.url = self._page.url
        if rendered.url.startswith(NO_PAGE):
            raise failure_of(f"a script led to what is no page {visit.failure}".rstrip(), visit.asked)
        rendered.captured = await visit.captured()
        if task.rules.screenshot:
            rendered.screenshot = await self._screenshot(task.max_bytes)
        rendered.cookies = [_cookie(raw) for raw in await self._context.cookies([task.url, rendered.url])]
        rendered.timings = _timings(response) | {"total": round(1000 * (monotonic() - began_at), 1)}
        if not visit.is_bodiless and task.is_evidence(rendered):
            rendered.evidence = await self._picture(task.timeout - (monotonic() - began_at))
        return rendered

    async def _screenshot(self, max_bytes: int) -> bytes | None:
        options = screenshot_options(await self._session.send("Page.getLayoutMetrics"))
        shot = base64.b64decode((await self._session.send("Page.captureScreenshot", options))["data"])
        return None if max_bytes and len(shot) > max_bytes else shot

    async def _picture(self, left: float) -> bytes | None:
        """What the window shows; None where that cannot be had soon, as the page counts without it."""
        with suppress(PlaywrightError):
            picture: bytes = await self._page.screenshot(timeout=1000 * min(PICTURE, max(left, 0) / 2 + 0.001))
            return picture
        return None

    async def _draw(self, drawing: Drawing) -> bytes:
        unanswered = [drawing.body]

        async def answer(route: Any) -> None:
            with suppress(PlaywrightError):  # the page has ended
                if unanswered:
                    await route.fulfill(body=unanswered.pop(), content_type=drawing.content_type)
                else:
                    await route.abort()

        await self._session.send("Emulation.setScriptExecutionDisabled", {"value": True})
        await self._page.route("**/*", answer)
        await self._page.goto(drawing.url)
        picture: bytes = await self._page.screenshot()
        return picture

    async def _block(self, urls: list[str]) -> None:
        if urls != self._blocked:
            await self._session.send("Network.setBlockedURLs", {"urls": urls})
            self._blocked = urls

    async def _send_cookies(self, task: PageTask) -> None:
        """Give the context what the jar has and it has not."""
        if not task.cookies:
            return
        known = {_cookie(raw)[:4] for raw in await self._context.cookies(task.url)}
        await asyncio.gather(*(self._send_cookie(one, task.url) for one in task.cookies if one[:4] not in known))

    async def _send_cookie(self, cookie: Cookie, url: str) -> None:
        with suppress(PlaywrightError):  # one that no browser takes; one that is gone is seen right away
            await self._session.send("Network.setCookie", cdp_cookie(cookie, url))

    async def _navigate(self, task: PageTask) -> None:
        options = {"wait_until": task.rules.wait_until, "timeout": 1000 * task.timeout, **task.goto}
        if task.referer:
            options["referer"] = task.referer
        try:
            await self._page.goto(task.url, **options)
        except PlaywrightError as error:
            if self._visit.is_download or _DOWNLOADS in str(error):
                raise NotAPage(task.url) from None
            if _ANSWER_WITHOUT_BODY in str(error) and self._visit.response is not None:
                self._visit.is_bodiless = True
            elif not (self._visit.navigating and any(sign in str(error) for sign in _ABORTED)):
                raise

    async def _settle(self, task: PageTask) -> None:
        """Wait until no navigation is under way that a script or a refresh has started."""
        visit = self._visit
        state = task.goto.get("wait_until", task.rules.wait_until)
        for _ in range(_HOPS):
            if visit.is_bodiless:
                return
            if state != "commit":  # where the document has been replaced since, the new one is hardly there
                await self._page.wait_for_load_state(state)
            refresh = ""
            try:
                refresh = await self._document.refresh()
            except PlaywrightError as error:
                if not any(sign in str(error) for sign in _NAVIGATING):
                    raise
                self._document.renew()
                if not visit.navigating:  # it was replaced meanwhile: the one that is there now may go on
                    continue
            if not visit.navigating and not await visit.goes_on(refresh):
                return
            await visit.committed.wait()
            if visit.is_download:
                raise NotAPage(task.url)
            await self._page.wait_for_load_state(
                "domcontentloaded" if task.rules.wait_until == "commit" else task.rules.wait_until
            )
        raise RedirectLoop(f"more than {_HOPS} redirects by its pages")

    async def _work(self, task: PageTask) -> None:
        if task.rules.wait_for:
            await self._wait_for(task.rules.wait_for, task)
        for action in task.rules.actions:
            if action.wait_for:
                await self._wait_for(action.wait_for, task)
            else:
                await perform(self._page, action, task.timeout)
        for method in task.methods:
            await call_page_method(self._page, method)

    async def _wait_for(self, selector: str, task: PageTask) -> None:
        if not await self._across_documents(task, lambda: self._document.wait_for(selector)):
            await self._page.wait_for_selector(selector, timeout=1000 * task.timeout)

    async def _content(self, task: PageTask) -> bytes:
        if self._visit.is_bodiless:
            return b""
        return (await self._across_documents(task, self._document.content)).encode("utf-8", "replace")

    async def _across_documents(self, task: PageTask, ask: Callable[[], Awaitable[T]]) -> T:
        """What the document answers; where it is replaced meanwhile, what the next one does."""
        for _ in range(_HOPS):
            try:
                return await ask()
            except PlaywrightError as error:
                if not any(sign in str(error) for sign in _NAVIGATING):
                    raise
                self._document.renew()
                await self._settle(task)
        raise RedirectLoop("the page does not stop navigating")


class _Visit:
    """What the network shows of one navigation and those that follow from it."""

    def __init__(self, task: PageTask | None = None):
        self._on_asked = task.on_asked if task is not None else None
        self._patterns = [re.compile(pattern) for pattern in task.rules.capture] if task is not None else []
        self.max_bytes = task.max_bytes if task is not None else 0
        self.size = 0
        """Bytes of the last document that have come, decompressed."""
        self._document = ""
        self.error: BrowserError | None = None
        """What it was cut short for."""
        self.navigations = 0
        """Of the main frame; redirects by status are one with what they come from."""
        self._wanted: list[Any] = []
        self.response: Any = None
        """The last answer to a navigation of the main frame."""
        self.navigating: Any = None
        """The request of a navigation that is under way."""
        self.asked = ""
        """The address of the last navigation, or of its last redirect."""
        self.failure = ""
        """Why the last navigation that failed did, in Chromium's words."""
        self._requested = asyncio.Event()
        self.committed = asyncio.Event()
        self._is_kept = False
        """Whether a refresh was awaited in vain."""
        self.is_download = False
        self.is_bodiless = False

    def requested(self, request: Any, main_frame: Any) -> None:
        if request.is_navigation_request() and _frame_of(request) is main_frame:
            self.navigating = request
            self.navigations += request.redirected_from is None
            self.asked = request.url
            self._requested.set()
            self.committed.clear()
            if self._on_asked is not None:
                self._on_asked()

    def begins(self, request_id: str) -> None:
        """The main frame's document begins to come."""
        self._document, self.size = request_id, 0

    def received(self, request_id: str, size: int) -> None:
        if request_id == self._document:
            self.size += size

    async def goes_on(self, refresh: str) -> bool:
        """Whether the document, which has such a refresh, is about to be replaced; True once it is."""
        patience = patience_with(refresh or (self.response.headers.get("refresh", "") if self.response else ""))
        if not patience or self._is_kept:
            return False
        self._requested.clear()
        try:
            async with asyncio.timeout(patience):
                await self._requested.wait()
        except TimeoutError:
            self._is_kept = True
        return not self._is_kept

    def answered(self, response: Any, main_frame: Any) -> None:
        request = response.request
        if request.is_navigation_request():
            if _frame_of(request) is main_frame:
                self.response = response
        elif any(pattern.search(response.url) for pattern in self._patterns):
            self._wanted.append(response)

    def failed(self, request: Any) -> None:
        if request is self.navigating:
            self.failure = request.failure or ""
            self._end()

    def navigated(self) -> None:
        self._end()

    def downloads(self) -> None:
        self.is_download = True
        self._end()

    def _end(self) -> None:
        self.navigating = None
        self.committed.set()

    async def captured(self) -> list[Captured]:
        """What scripts fetched that is wanted, and is JSON."""
        found, room = [], MOST_CAPTURED
        for response in self._wanted:
            with suppress(PlaywrightError, ValueError):
                if (await response.request.sizes())["responseBodySize"] > min(room, LARGEST_CAPTURE):
                    continue
                body = await response.body()
                if len(body) <= min(room, LARGEST_CAPTURE):
                    room -= len(body)
                    found.append(Captured(response.url, response.status, json.loads(body)))
        return found


def _frame_of(request: Any) -> Any:
    try:
        return request.frame
    except PlaywrightError:  # of a navigation whose page is not there yet
        return None


def _cookie(raw: dict[str, Any]) -> Cookie:
    return Cookie(raw["name"], raw["value"], raw["domain"], raw["path"], raw["expires"], raw["secure"], raw["httpOnly"])


def _timings(response: Any) -> dict[str, float]:
    """Milliseconds since the request of the document: when its first and its last byte came."""
    timing = response.request.timing
    named = {"first_byte": "responseStart", "last_byte": "responseEnd"}
    return {name: round(timing[key], 1) for name, key in named.items() if timing.get(key, -1) >= 0}


def _line(error: BaseException) -> str:
    return str(error).partition("\n")[0]

"""One navigation by Selenium: what the network said is read from chromedriver's performance log."""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from contextlib import suppress
from time import monotonic, sleep
from typing import Any

from selenium.common.exceptions import (
    JavascriptException,
    NoSuchElementException,
    StaleElementReferenceException,
    TimeoutException,
    UnexpectedAlertPresentException,
    WebDriverException,
)
from selenium.webdriver.common.by import By

from browser_pool.backend import Captured, Cookie, PageTask, Rendered
from browser_pool.blocking import blocked_urls
from browser_pool.cookies import cdp_cookie
from browser_pool.errors import NO_PAGE, NotAPage, PageTooLarge, RedirectLoop, failure_of
from browser_pool.extras import LARGEST_CAPTURE, MOST_CAPTURED, screenshot_options
from browser_pool.refreshes import patience_with

_INTERVAL = 0.03
_QUIET = 0.1
"""Seconds without a navigation until a document counts as the last: scripts may be about to start another."""
_HOPS = 20
_CONSENT = 2.0
_LOOKS = 40
"""At a page's height, until what was scrolled counts as all."""
_STATE = """return [
    document.readyState, document.querySelector('meta[http-equiv="refresh" i]')?.content ?? '',
]"""
_DOCUMENTS = ("text/html", "application/xhtml+xml")


class SeleniumVisit:
    """Blocking; to be run in the browser's thread."""

    def __init__(self, driver: Any, task: PageTask):
        self._driver = driver
        self._task = task
        self._deadline = monotonic() + task.timeout
        self._frame = ""
        self._documents: list[dict[str, Any]] = []
        """`Network.responseReceived` of the main frame's documents."""
        self._answers: list[dict[str, Any]] = []
        self._sizes: Counter[str] = Counter()
        """Bytes that have come, by request."""
        self._failure = ""
        """Why the task's navigation failed, in Chromium's words."""
        self._failed = ""
        """The same of the last that did of those that scripts have started."""
        self._asked = ""
        """The address of the last navigation, or of its last redirect."""
        self._loaded = 0
        self._navigations = 0
        self._refreshing = 0
        """The navigation whose document's refresh was looked at."""
        self._refreshed_by = 0.0
        """When it has started at the latest."""
        self._is_download = False

    def render(self) -> Rendered:
        """Load the page and do what its rules say."""
        began_at = monotonic()
        task, driver = self._task, self._driver
        self._entries()  # of the page before
        self._frame = driver.current_window_handle
        self._cdp("Network.setBlockedURLs", urls=blocked_urls(task.rules.block))
        for cookie in task.cookies:
            with suppress(WebDriverException):  # one that no browser takes; one that is gone is seen right away
                self._cdp("Network.setCookie", **cdp_cookie(cookie, task.url))
        referer = {"referrer": task.referer} if task.referer else {}
        failed = self._cdp("Page.navigate", url=task.url, **referer).get("errorText", "")
        task.on_asked()
        self._settle(failed)
        kind = str(self._documents[-1]["response"].get("mimeType", "")).lower()
        if not kind or kind in _DOCUMENTS:
            if self._documents[-1]["response"]["status"] < 400 and not self._failure:
                self._work()
                self._settle("")
            body = b"" if self._failure else str(driver.page_source).encode("utf-8", "replace")
        else:
            body = self._body(self._documents[-1]["requestId"])
        if task.max_bytes and len(body) > task.max_bytes:
            raise PageTooLarge(len(body))
        rendered = self._rendered(body, is_document=not kind or kind in _DOCUMENTS)
        rendered.timings["total"] = round(1000 * (monotonic() - began_at), 1)
        if not self._failure and task.is_evidence(rendered):
            with suppress(WebDriverException):  # the page counts without it
                rendered.evidence = self._picture()
        return rendered

    def _rendered(self, body: bytes, *, is_document: bool) -> Rendered:
        response = self._documents[-1]["response"]
        url = response["url"] if self._failure else str(self._driver.execute_script("return location.href"))
        if url.startswith(NO_PAGE):
            raise failure_of(f"a script led to what is no page {self._failed}".rstrip(), self._asked)
        headers = [(name, value) for name, value in response["headers"].items()]
        rendered = Rendered(url, response["status"], headers, body, is_document)
        timing = response.get("timing") or {}
        if timing.get("receiveHeadersEnd", -1) >= 0:
            rendered.timings["first_byte"] = round(timing["receiveHeadersEnd"], 1)
        found = self._cdp("Network.getCookies", urls=[self._task.url, url])["cookies"]
        rendered.cookies = list(dict.fromkeys(map(_cookie, found)))
        rendered.captured = list(self._captured())
        if self._task.rules.screenshot:
            rendered.screenshot = self._screenshot()
        return rendered

    def _screenshot(self) -> bytes | None:
        options = screenshot_options(self._cdp("Page.getLayoutMetrics"))
        shot = base64.b64decode(self._cdp("Page.captureScreenshot", **options)["data"])
        return None if self._task.max_bytes and len(shot) > self._task.max_bytes else shot

    def _picture(self, **how: Any) -> bytes:
        return base64.b64decode(self._cdp("Page.captureScreenshot", format="png", **how)["data"])

    def _settle(self, failed: str) -> None:
        """Wait until the last document is loaded, and no script or refresh has started another navigation."""
        self._failure = failed
        quiet_since = 0.0
        while True:
            self._read_log()
            if self._is_download:
                raise NotAPage(self._task.url)
            if self._navigations > _HOPS:
                raise RedirectLoop(f"more than {_HOPS} redirects by its pages")
            self._check_size()
            if self._failure and self._documents:
                return
            if self._failure and not self._documents:
                raise failure_of(self._failure, self._asked)
            if self._documents and self._is_ready():
                quiet_since = quiet_since or monotonic()
                if monotonic() - quiet_since >= _QUIET:
                    return
            else:
                quiet_since = 0.0
            self._pause("the page")

    def _check_size(self) -> None:
        """A document may be without end, and grow when it is decompressed: its size is seen before it is all there."""
        size = self._sizes[self._documents[-1]["requestId"]] if self._documents else 0
        if self._task.max_bytes and size > self._task.max_bytes:
            raise PageTooLarge(size)

    def _is_ready(self) -> bool:
        before = self._navigations
        # of documents that follow one another fast; the alert is dismissed by then
        with suppress(JavascriptException, TimeoutException, UnexpectedAlertPresentException):
            state, refresh = self._driver.execute_script(_STATE) or ("", "")  # while a dialog is open
            self._read_log()
            wanted = (
                ("complete",) if self._task.rules.wait_until in ("load", "networkidle") else ("interactive", "complete")
            )
            is_loaded = state in wanted and self._navigations == before == self._loaded
            return is_loaded and not self._goes_on(refresh)
        return False

    def _goes_on(self, refresh: str) -> bool:
        """Whether the document, which has such a refresh, is about to be replaced."""
        headers = {name.lower(): value for name, value in self._documents[-1]["response"]["headers"].items()}
        if self._refreshing != self._navigations:
            self._refreshing = self._navigations
            self._refreshed_by = monotonic() + patience_with(refresh or headers.get("refresh", ""))
        return monotonic() < self._refreshed_by

    def _read_log(self) -> None:
        for entry in self._entries():
            message = json.loads(entry["message"])
            if message.get("webview") != self._frame:
                continue
            self._note(message["message"]["method"], message["message"]["params"])

    def _entries(self) -> Any:
        return self._driver.execute("getLog", {"type": "performance"})["value"]

    def _note(self, method: str, params: dict[str, Any]) -> None:
        is_main = params.get("frameId") == self._frame
        match method:
            case "Network.requestWillBeSent" if params.get("type") == "Document" and is_main:
                self._navigations += "redirectResponse" not in params
                self._asked = params["request"]["url"]
            case "Network.responseReceived" if params.get("type") == "Document" and is_main:
                self._documents.append(params)
            case "Network.responseReceived":
                self._answers.append(params)
            case "Network.dataReceived":
                self._sizes[params["requestId"]] += params["dataLength"]
            case "Network.loadingFailed" if params.get("type") == "Document":
                self._loaded = self._navigations
                self._failed = params["errorText"]
            case "Page.frameNavigated" if "parentId" not in params["frame"]:
                self._loaded = self._navigations
            case "Page.downloadWillBegin" | "Browser.downloadWillBegin":
                self._is_download = True

    def _work(self) -> None:
        rules = self._task.rules
        if rules.wait_for:
            self._wait_for(rules.wait_for)
        for action in rules.actions:
            match action.kind:
                case "wait_for":
                    self._wait_for(action.wait_for)
                case "click":
                    self._wait_for(action.click).click()
                case "fill":
                    field = self._wait_for(action.fill)
                    field.clear()
                    field.send_keys(action.value)
                case "scroll":
                    self._scroll(action.scroll)
                case "consent":
                    with suppress(TimeoutException):
                        self._wait_for(action.consent, _CONSENT).click()

    def _wait_for(self, selector: str, seconds: float | None = None) -> Any:
        """The element, once it is visible."""
        deadline = self._deadline if seconds is None else monotonic() + seconds
        while True:
            with suppress(NoSuchElementException, StaleElementReferenceException):
                element = self._driver.find_element(By.CSS_SELECTOR, selector)
                if element.is_displayed():
                    return element
            if monotonic() > deadline:
                raise TimeoutException(f"{selector} did not come")
            sleep(_INTERVAL)

    def _scroll(self, times: int) -> None:
        height = "return document.documentElement.scrollHeight"
        for _ in range(times):
            before = self._driver.execute_script(f"scrollTo(0, document.documentElement.scrollHeight); {height}")
            if not any(self._has_grown(before) for _ in range(_LOOKS)):
                return

    def _has_grown(self, height: int) -> bool:
        """Whether the page is higher, after a while."""
        self._pause("the page's end")
        return int(self._driver.execute_script("return document.documentElement.scrollHeight")) > height

    def _captured(self) -> Any:
        self._read_log()
        room = MOST_CAPTURED
        for answer in self._answers:
            url, size = answer["response"]["url"], self._sizes[answer["requestId"]]
            is_wanted = any(re.search(pattern, url) for pattern in self._task.rules.capture)
            if is_wanted and size <= min(room, LARGEST_CAPTURE):
                room -= size
                with suppress(WebDriverException, ValueError):
                    yield Captured(url, answer["response"]["status"], json.loads(self._body(answer["requestId"])))

    def _body(self, request_id: str) -> bytes:
        found = self._cdp("Network.getResponseBody", requestId=request_id)
        return base64.b64decode(found["body"]) if found["base64Encoded"] else str(found["body"]).encode()

    def _pause(self, what: str) -> None:
        if monotonic() > self._deadline:
            raise TimeoutException(f"{what} did not come")
        sleep(_INTERVAL)

    def _cdp(self, method: str, **params: Any) -> Any:
        return self._driver.execute_cdp_cmd(method, params)


def _cookie(raw: dict[str, Any]) -> Cookie:
    return Cookie(raw["name"], raw["value"], raw["domain"], raw["path"], raw["expires"], raw["secure"], raw["httpOnly"])

"""What goes wrong in a browser. A page that fails so is worth another attempt, unless said otherwise.

BrowserError
├── BrowserTimeout   a call took longer than its limit
├── BrowserGone      the browser, or what renders the page in it, has crashed or been killed
├── PageFailed       the page cannot be had: its server, its network, its script
├── NotAPage         the address is a download: for plain HTTP
├── RedirectLoop     it leads on and on: no attempt will change that
└── PageTooLarge     the document is larger than DOWNLOAD_MAXSIZE: no attempt will change that
"""

from __future__ import annotations

NO_PAGE = ("chrome-error:", "about:")
"""What the address of a page that nobody has sent begins with: of Chromium's own about a failure, of an empty one."""


class BrowserError(Exception):
    """The root."""


class BrowserTimeout(BrowserError):
    """A call to the browser has not returned within its limit."""


class BrowserGone(BrowserError):
    """What was asked is no longer there."""


class PageFailed(BrowserError):
    """The page could not be loaded, or did not do what its site's rules wait for."""

    def __init__(self, message: str, url: str = ""):
        super().__init__(message)
        self.url = url
        """Where its last navigation led, after redirects; '' where there was none."""


class RedirectLoop(BrowserError):
    """More redirects, by status or by its pages, than are followed."""


def failure_of(message: str, url: str) -> BrowserError:
    """What Chromium's `message` about a navigation to `url` says."""
    return RedirectLoop(message) if "ERR_TOO_MANY_REDIRECTS" in message else PageFailed(message, url)


class NotAPage(BrowserError):
    """The browser would download the address instead of showing it."""


class PageTooLarge(BrowserError):
    """The rendered document has more bytes than are allowed."""

    def __init__(self, size: int):
        super().__init__(f"{size} bytes")
        self.size = size

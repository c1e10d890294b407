"""The interface of the pool to a kind of browser: launch it, open contexts and pages in it, render, kill."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from browser_pool.errors import PageFailed
from crawlers.remote_browsers import secrets_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from browser_pool.emulation import Engine
    from browser_pool.folder import PrivateFolder
    from crawlers.browser_rules import BrowserRules
    from crawlers.identity import Identity


class Captured(NamedTuple):
    """A JSON answer that a script of the page got."""

    url: str
    status: int
    data: Any


class Cookie(NamedTuple):
    """A cookie as the browser has it. `domain` begins with a dot where subdomains get it, too."""

    name: str
    value: str
    domain: str = ""
    path: str = "/"
    expires: float = -1
    """Seconds since 1970; -1 with the session."""
    is_secure: bool = False
    is_http_only: bool = False


@dataclass(frozen=True, slots=True)
class PageTask:
    """A page to be had."""

    url: str
    rules: BrowserRules
    timeout: float
    """Seconds for all of it."""
    max_bytes: int = 0
    """Of the document; 0 is no limit."""
    referer: str = ""
    cookies: tuple[Cookie, ...] = ()
    """Those that the browser is to send."""
    methods: tuple[Any, ...] = ()
    """What is called on Playwright's page, in scrapy-playwright's convention: `method`, `args`, `kwargs`."""
    goto: dict[str, Any] = field(default_factory=dict)
    """Further arguments of Playwright's `goto`, in the same convention."""
    on_asked: Callable[[], object] = lambda: None
    """Called when the browser sends the request for the page, or has sent it: no earlier. From whatever thread."""
    is_evidence: Callable[[Rendered], bool] = lambda rendered: False
    """Whether a page is photographed whatever its rules say: as a visitor sees it, without scrolling."""


@dataclass(slots=True)
class Rendered:
    """A page as the browser has it in the end."""

    url: str
    """After all redirects, also those of scripts."""
    status: int
    headers: list[tuple[str, str]]
    body: bytes
    """The document, as UTF-8; of what is no HTML, the bytes that came."""
    is_document: bool = True
    timings: dict[str, float] = field(default_factory=dict)
    """Milliseconds since the navigation began."""
    cookies: list[Cookie] = field(default_factory=list)
    """Those that the address that was asked, or the final one, would be sent."""
    captured: list[Captured] = field(default_factory=list)
    screenshot: bytes | None = None
    """PNG of the whole page, where its rules ask for it."""
    evidence: bytes | None = None
    """PNG of what its window showed, where the task calls it evidence."""


class Drawing(NamedTuple):
    """A document that is here already, and its picture to be had."""

    url: str
    """Where it came from; nobody is asked there."""
    content_type: str
    body: bytes
    timeout: float
    """Seconds."""


@dataclass(frozen=True, slots=True)
class Launch:
    """What a browser is started with."""

    executable: str
    """'' where `remote` is set."""
    folder: Path
    """Its own, for its profile and all its temporary files."""
    home: PrivateFolder
    """Of the worker: it is told of what runs."""
    timeout: float
    proxy: str = ""
    """The egress port of `identity`: of all traffic, where the backend has one context per process."""
    identity: Identity | None = None
    """Whose page is the first; None at a warm start."""
    remote: str = ""
    """Where a browser runs already, or is to be had; '' is this machine."""

    @property
    def languages(self) -> str:
        """Those of its first identity: what its pages' workers say; '' is the engine's own."""
        return self.identity.accept_language if self.identity is not None else ""


PICTURE = 5.0
"""Seconds for the picture of a page that is evidence; it is left out where that takes longer."""


def without_remote(message: str, remote: str) -> str:
    """`message` without the remote browser's address, and without its credentials where only parts of it are there."""
    if not remote:
        return message
    message = message.replace(remote, "BROWSER_REMOTE_URL")
    for secret in sorted(secrets_of(remote), key=len, reverse=True):
        message = message.replace(secret, "***")
    return message


class Page(ABC):
    """A tab, used for one page after another."""

    @abstractmethod
    async def render(self, task: PageTask) -> Rendered:
        """Load the task's page and do what its rules say. Raises BrowserError."""

    async def draw(self, drawing: Drawing) -> bytes:
        """PNG of a document, of which no script runs and nothing else is loaded. Raises BrowserError.

        Only where the backend's browsers hold several contexts; the page is good for nothing else afterwards.
        """
        raise PageFailed("this backend draws nothing")

    @abstractmethod
    async def is_well(self) -> bool:
        """Whether its scripts let it answer. Raises BrowserError."""

    @abstractmethod
    async def close(self) -> None:
        """Raises BrowserError."""


class Context(ABC):
    """Cookies, storage and proxy of one identity."""

    @abstractmethod
    async def new_page(self) -> Page:
        """Raises BrowserError."""

    @abstractmethod
    async def close(self) -> None:
        """Raises BrowserError."""


class Browser(ABC):
    """A running browser."""

    engine: Engine
    """Who it says it is, once it is launched."""

    @abstractmethod
    async def new_context(self, identity: Identity, proxy: str) -> Context:
        """A context whose traffic goes through `proxy`. Raises BrowserError."""

    @property
    @abstractmethod
    def is_lost(self) -> bool:
        """Whether it is known to have crashed or gone."""

    @abstractmethod
    def memory(self) -> dict[int, int]:
        """Bytes of each of its processes, by pid."""

    @abstractmethod
    def kill_renderer(self, pid: int) -> bool:
        """Kill the process where it renders pages only; whether it did."""

    @abstractmethod
    async def kill(self) -> None:
        """End it with all its processes and its folder, whatever state it is in. Raises nothing."""


class Backend(ABC):
    """A kind of browser."""

    name: ClassVar[str]
    """What `rendered_by` says."""
    shares_process: ClassVar[bool]
    """Whether one process holds the contexts of several identities, and several pages at once."""

    @abstractmethod
    def check(self) -> None:
        """Raise UserError where this machine has not what its browsers need beside Chromium."""

    @abstractmethod
    async def launch(self, launch: Launch) -> Browser:
        """Raises BrowserError; no browser is left running then."""

    @abstractmethod
    async def close(self) -> None:
        """End what its browsers have shared; all of them have been killed."""

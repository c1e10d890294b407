"""One fetch of a robots.txt, and what RFC 9309 makes of its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from scrapy import Request
from scrapy.exceptions import IgnoreRequest
from scrapy.http.request import NO_CALLBACK

from crawlers.domains import domain_of, is_web_url
from crawlers.frontier.retrying import retry_after
from crawlers.frontier.sending import NotLeased
from crawlers.refusals import DomainShut, GivenUp, NoProxy, ProxyFailed, Refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from scrapy.core.engine import ExecutionEngine
    from scrapy.http import Response

ROBOTS_TXT = "robots_txt"
"""The meta key of a request for a robots.txt: the request that waits for it. No rule about pages holds for it."""
MOST_BYTES = 512 * 1024
"""That are read of it; RFC 9309 asks for 500 KiB at least."""
NOT_ASKED = (Refused, NoProxy, ProxyFailed, DomainShut, NotLeased)
"""What says that the site was not asked, and nothing of its robots.txt."""
_PATH = "/robots.txt"
_REDIRECTS = 5
_REDIRECTED = (301, 302, 303, 307, 308)
_PRIORITY = 1000
_TOO_MANY = 429
_WAY = ("proxy", "use_proxy")
"""What a request says of its way, which is its robots.txt's, too."""


class Unreachable(Exception):
    """Nobody can tell what it says: nothing may be fetched, and it is not to be asked for again for `wait` seconds."""

    def __init__(self, why: str, wait: float = 0.0):
        super().__init__(why)
        self.wait = wait


def origin_of(url: str) -> str:
    """Scheme and domain: what has a robots.txt of its own."""
    return f"{urlsplit(url).scheme}://{domain_of(url)}"


async def fetch_robots(
    engine: ExecutionEngine,
    origin: str,
    asking: Request,
    longest_wait: float,
    elsewhere: Callable[[str], Awaitable[bytes | None]] | None = None,
) -> bytes:
    """The robots.txt of `origin`, which `asking` waits for; empty where there is none, which allows everything.

    Where it is another origin's, `elsewhere` may know that one. Raises Unreachable for errors of the server, with its
    Retry-After up to `longest_wait` seconds, or of the network, and those of NOT_ASKED.
    """
    url = f"{origin}{_PATH}"
    for _ in range(_REDIRECTS + 1):
        try:
            response = await engine.download_async(_request(url, asking))
        except NOT_ASKED:
            raise
        except IgnoreRequest:
            return b""
        except Exception as error:
            if isinstance(error, GivenUp) and error.reason == "no proxy":  # a name that is no proxy's
                raise
            raise Unreachable(f"{type(error).__name__}: {error}") from None
        target = response.headers.get("Location") if response.status in _REDIRECTED else None
        if target is None:
            return _read(response, longest_wait)
        url = urljoin(url, target.decode("latin-1"))
        if not is_web_url(url):
            return b""
        is_anothers = origin_of(url) != origin and urlsplit(url).path == _PATH
        if elsewhere is not None and is_anothers and (found := await elsewhere(origin_of(url))) is not None:
            return found
    return b""


def _request(url: str, asking: Request) -> Request:
    way = {key: asking.meta[key] for key in _WAY if key in asking.meta}
    meta = {ROBOTS_TXT: asking, "dont_obey_robotstxt": True, "dont_redirect": True, **way}
    return Request(url, callback=NO_CALLBACK, priority=_PRIORITY, meta=meta)


def _read(response: Response, longest_wait: float) -> bytes:
    if response.status >= 500 or response.status == _TOO_MANY:
        raise Unreachable(f"http {response.status}", retry_after(response, longest_wait))
    if not 200 <= response.status < 300:
        return b""
    body = response.body
    return body if len(body) <= MOST_BYTES else body[: body.rfind(b"\n", 0, MOST_BYTES) + 1 or MOST_BYTES]

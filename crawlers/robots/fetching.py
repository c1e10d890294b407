"""One fetch of a robots.txt, and what RFC 9309 makes of its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scrapy import Request
from scrapy.exceptions import IgnoreRequest
from scrapy.http.request import NO_CALLBACK

from crawlers.refusals import Refused

if TYPE_CHECKING:
    from scrapy.core.engine import ExecutionEngine
    from scrapy.http import Response

ROBOTS_TXT = "robots_txt"
"""The meta key of a request for a robots.txt: no rule about pages holds for it."""
MOST_BYTES = 512 * 1024
"""That are read of it; RFC 9309 asks for 500 KiB at least."""
_REDIRECTS = 5
_PRIORITY = 1000
_TOO_MANY = 429


class Unreachable(Exception):
    """Nobody can tell what it says: nothing may be fetched."""


async def fetch_robots(engine: ExecutionEngine, origin: str) -> bytes:
    """The robots.txt of `origin` (scheme and domain); empty where there is none, which allows everything.

    Raises Unreachable for errors of the server or the network, and Refused where its address may not be dialled.
    """
    request = Request(
        f"{origin}/robots.txt",
        callback=NO_CALLBACK,
        priority=_PRIORITY,
        meta={ROBOTS_TXT: True, "dont_obey_robotstxt": True, "redirect_ttl": _REDIRECTS},
    )
    try:
        response = await engine.download_async(request)
    except Refused:
        raise
    except IgnoreRequest:  # more redirects than are followed: as good as none
        return b""
    except Exception as error:
        raise Unreachable(f"{type(error).__name__}: {error}") from None
    return _read(response)


def _read(response: Response) -> bytes:
    if response.status >= 500 or response.status == _TOO_MANY:
        raise Unreachable(f"http {response.status}")
    if not 200 <= response.status < 300:
        return b""
    body = response.body
    return body if len(body) <= MOST_BYTES else body[: body.rfind(b"\n", 0, MOST_BYTES) + 1 or MOST_BYTES]

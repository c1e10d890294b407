"""Who hears of walls, and who may answer a CAPTCHA.

Proxy health, the rotation of identities and whoever else wants to know connect to the signal:

    crawler.signals.connect(self.on_ban, signal=ban_detected)

    def on_ban(self, request, response, kind): ...

It is sent before the request's retry is decided, and once for each wall. The frontier's circuit breaker needs no
signal: it sees the Banned that ends the attempt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from scrapy.utils.misc import build_from_crawler, load_object

from crawlers.exceptions import UserError

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Response

ban_detected = object()
"""Sent with `request`, `response` and `kind`, one of crawlers.bans.signatures.KINDS."""


class CaptchaSolver(Protocol):
    """The operator's, named by CAPTCHA_SOLVER; built by `from_crawler` where it has that."""

    async def solve(self, request: Request, response: Response) -> Response | Request | None:
        """The page behind the CAPTCHA; or a request to be sent in this one's place, with what lets it pass; or None.

        Of a page that a browser rendered, `request.meta["rendered"].evidence` is the picture, a PNG.
        """


def load_solver(crawler: Crawler) -> CaptchaSolver | None:
    """The operator's solver. UserError where CAPTCHA_SOLVER names none."""
    path = crawler.settings.get("CAPTCHA_SOLVER")
    if not path:
        return None
    try:
        kind: Any = load_object(path)
    except (ImportError, NameError, ValueError) as error:
        raise UserError(f"CAPTCHA_SOLVER={path}: expected the path of a class: {error}") from None
    if not callable(getattr(kind, "solve", None)):
        raise UserError(f"CAPTCHA_SOLVER={path}: expected a class with `async def solve(self, request, response)`")
    solver: CaptchaSolver = build_from_crawler(kind, crawler)
    return solver

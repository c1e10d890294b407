"""Why a request does not get its page, where it is Seine that says so.

A middleware or a download handler raises one of these; RequestOutcomes tells it as `outcome/reason`, which is what
`scrapy frontier why` answers.

IgnoreRequest
└── Refused      filtered/reason: a rule does not let it be fetched, or its page be used
GivenUp          dead/reason: what came is not to be worked on
└── Postponed    worth another attempt; dead/reason where it was the last
    ├── Banned       the page of a wall
    ├── DomainShut   its domain is not to be asked again for a while
    ├── RobotsUnreachable   nobody can tell yet what robots.txt allows
    ├── ProxyFailed  the forward proxy did not let through; the site was not asked, as far as one can tell
    └── NoProxy      no forward proxy may be used now
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from scrapy.exceptions import IgnoreRequest
from scrapy.http import Response
from twisted.python.failure import Failure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Refused(IgnoreRequest):
    """A rule of the operator's, of the site's or of safety."""

    outcome: ClassVar[str] = "filtered"

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason


class GivenUp(Exception):
    """Another attempt would come to the same. `response` is what came, where something did."""

    outcome: ClassVar[str] = "dead"

    def __init__(self, reason: str, message: str, response: Response | None = None):
        super().__init__(message)
        self.reason = reason
        self.response = response


class Postponed(GivenUp):
    """Another attempt may come to something else, `wait` seconds from now at the earliest."""

    wait = 0.0
    is_counted = True
    """Whether it is one of the request's attempts; not where nothing was sent and `wait` is sure to be enough."""


class Banned(Postponed):
    """The site shows a wall instead of the page; `kind` is one of crawlers.bans.signatures.KINDS.

    `picture` gives the wall's screenshot as PNG, or None; for the letter of a request whose last attempt this was.
    """

    def __init__(
        self, kind: str, message: str, response: Response, picture: Callable[[], Awaitable[bytes | None]] | None = None
    ):
        super().__init__(kind, message, response)
        self.kind = kind
        self.picture = picture


class DomainShut(Postponed):
    """What was to be asked for once more is not, as its domain wants to be left alone, or its circuit is open."""

    def __init__(self, wait: float):
        super().__init__("domain shut", f"to be left alone for {wait:.1f} s")
        self.wait = wait


class RobotsUnreachable(Postponed):
    """robots.txt cannot be had, and no copy of it either: until then nothing may be fetched."""

    def __init__(self, message: str, wait: float):
        super().__init__("robots unreachable", message)
        self.wait = wait


class ProxyFailed(Postponed):
    """It does not answer, refuses, or wants other credentials."""

    def __init__(self, message: str):
        super().__init__("proxy failed", message)


class NoProxy(Postponed):
    """None may be used now: all cool down, or what they may transfer is spent, or the list has lost them."""

    def __init__(self, message: str, wait: float, *, is_counted: bool = False):
        super().__init__("no proxy", message)
        self.wait = wait
        self.is_counted = is_counted


def answer_of(result: Any) -> Response | None:
    """The response that a download's result is, or failed over."""
    if isinstance(result, Failure):
        result = result.value
    if isinstance(result, GivenUp):
        result = result.response
    return result if isinstance(result, Response) else None

"""Which results are worth another attempt, and how a download tells of its domain's health."""

from __future__ import annotations

import time
from email.utils import mktime_tz, parsedate_tz
from typing import Any

from scrapy.exceptions import IgnoreRequest
from scrapy.http import Request, Response
from scrapy.utils.misc import load_object
from twisted.python.failure import Failure

from crawlers.refusals import Banned, DomainShut, GivenUp, NoProxy, Postponed, ProxyFailed, answer_of

GOOD, FAILED, THROTTLED, UNASKED = 0, 1, 2, 3
"""Verdicts on a download, as lua/settle.lua takes them."""


class RetryPolicy:
    """Scrapy's RETRY_HTTP_CODES and RETRY_EXCEPTIONS, `dont_retry`; when and how often is the frontier's."""

    def __init__(self, settings: Any):
        self._codes = {int(code) for code in settings.getlist("RETRY_HTTP_CODES")}
        self._exceptions = tuple(
            load_object(kind) if isinstance(kind, str) else kind for kind in settings.getlist("RETRY_EXCEPTIONS")
        )

    def reason(self, result: Response | Failure | Request, request: Request) -> str | None:
        """Why `request` is worth another attempt; None where it is not."""
        if request.meta.get("dont_retry"):
            return None
        if isinstance(result, Response):
            return f"http {result.status}" if result.status in self._codes else None
        if not isinstance(result, Failure) or result.check(IgnoreRequest) or not result.check(*self._exceptions):
            return None
        if isinstance(result.value, Postponed):
            return result.value.reason
        return result.type.__name__ if result.type else "failure"


def verdict_of(result: Response | Request | BaseException) -> int:
    """What a download, as the middlewares judged it, says of its domain's health."""
    if isinstance(result, Banned):
        return THROTTLED
    if isinstance(result, (ProxyFailed, NoProxy, DomainShut)):
        return UNASKED
    if isinstance(result, Response):
        if result.status == 429 or (result.status == 503 and "Retry-After" in result.headers):
            return THROTTLED
        return FAILED if result.status >= 500 else GOOD
    was_answered = isinstance(result, (Request, IgnoreRequest)) or type(result) is GivenUp
    return GOOD if was_answered else FAILED


def is_counted(result: Any) -> bool:
    """Whether an attempt that ended so is one of the request's attempts."""
    failure = result.value if isinstance(result, Failure) else result
    return not isinstance(failure, Postponed) or failure.is_counted


def retry_after(result: Any, longest: float) -> float:
    """The seconds that an answer, 429 or 503, or a postponement asks to wait, at most `longest`; 0 where none does."""
    failure = result.value if isinstance(result, Failure) else result
    if isinstance(failure, Postponed) and failure.wait:
        return min(failure.wait, longest)
    response = answer_of(result)
    if response is None or response.status not in (429, 503):
        return 0.0
    text = (response.headers.get("Retry-After") or b"").decode("latin-1").strip()
    if text.isdigit():
        return min(float(text), longest)
    parsed = parsedate_tz(text) if text else None
    try:
        return min(max(0.0, mktime_tz(parsed) - time.time()), longest) if parsed else 0.0
    except (OverflowError, ValueError):
        return 0.0

"""By what two requests are known for one: Scrapy's fingerprints, or those of a seen-set that scrapy-redis wrote.

scrapy-redis 0.8 and 0.9 hash what Scrapy hashes without its field of headers, which is there even where it is empty;
0.7 and older have Scrapy's formula of before 2.7. So no fingerprint of theirs is one of Scrapy's, of whatever request.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from scrapy_redis.dupefilter import RFPDupeFilter
from w3lib.url import canonicalize_url

from crawlers.exceptions import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from scrapy import Request
    from scrapy.crawler import Crawler

PROJECT = "scrapy"
"""The formula of the project's REQUEST_FINGERPRINTER_CLASS: Scrapy's, unless that is set."""

_scrapy_redis = RFPDupeFilter(server=None, key="")


def _of_scrapy_redis(request: Request) -> bytes:
    return bytes.fromhex(_scrapy_redis.request_fingerprint(request))


def _of_scrapy_redis_0_7(request: Request) -> bytes:
    parts = request.method.encode(), canonicalize_url(request.url).encode(), request.body
    return hashlib.sha1(b"".join(parts), usedforsecurity=False).digest()


FORMULAS: Mapping[str, Callable[[Request], bytes]] = {
    "scrapy-redis": _of_scrapy_redis,
    "scrapy-redis-0.7": _of_scrapy_redis_0_7,
}
"""Those that are not the project's, by name."""


def fingerprinting(crawler: Crawler, formula: str) -> Callable[[Request], bytes]:
    """The formula of that name. UserError where there is none."""
    if formula == PROJECT:
        assert crawler.request_fingerprinter is not None
        return crawler.request_fingerprinter.fingerprint
    if formula not in FORMULAS:
        raise UserError(f"fingerprints {formula!r}: expected {PROJECT}, {', '.join(FORMULAS)}")
    return FORMULAS[formula]

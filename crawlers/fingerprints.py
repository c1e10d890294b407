"""Scrapy's request fingerprints, at a tenth of their cost for the addresses that most requests have."""

from __future__ import annotations

import re
from hashlib import sha1
from typing import TYPE_CHECKING

from scrapy.utils.request import RequestFingerprinter

if TYPE_CHECKING:
    from scrapy import Request

_SEGMENT = r"[A-Za-z0-9_-][A-Za-z0-9_.-]*"
_CANONICAL = re.compile(
    r"https?://[a-z0-9]+(?:[.-][a-z0-9]+)*(?::[1-9][0-9]*)?"
    rf"/(?:{_SEGMENT}/)*(?:{_SEGMENT})?"
    r"(?:\?[A-Za-z0-9_]+=[A-Za-z0-9_.-]+)?"
).fullmatch
"""Addresses that w3lib's canonicalize_url returns as they are: nothing to escape, to sort, to resolve or to lower."""


class QuickFingerprinter(RequestFingerprinter):
    """The same fingerprints as Scrapy's RequestFingerprinter, whose formula for others than those it calls."""

    def fingerprint(self, request: Request) -> bytes:
        """The 20 bytes of SHA-1 over method, canonical address, body and headers."""
        if request.method == "GET" and not request._body and _CANONICAL(request._url):
            text = f'{{"body": "", "headers": {{}}, "method": "GET", "url": "{request._url}"}}'
            return sha1(text.encode(), usedforsecurity=False).digest()
        return super().fingerprint(request)

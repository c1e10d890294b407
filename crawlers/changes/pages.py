"""What is remembered of a page that shows a product: when it is due, how to ask whether it has changed."""

from __future__ import annotations

import struct
from email.utils import formatdate, mktime_tz, parsedate_tz
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.http import Headers

ALWAYS = 255
"""Of `left`: the page may be skipped any number of times."""
LONGEST = 64
"""Bytes. Redis keeps a hash compact while none of its values is longer."""
_HEAD = struct.Struct(">IIBB")
_MODIFIED = struct.Struct(">I")
_LEFT = 8
"""Where `left` stands."""


class Page(NamedTuple):
    """lua/products.lua reads its beginning: due, interval, left, length of the product's key, that key."""

    due: int
    """Seconds since the epoch before which it is not fetched."""
    interval: int
    """Seconds that lie between two visits, for now."""
    left: int
    """How often it may be skipped, as not due or not modified, until it must be read."""
    product: bytes
    """The key of the product that it shows."""
    modified: int = 0
    """Its Last-Modified in seconds since the epoch; 0 where it stated none."""
    etag: bytes = b""

    @classmethod
    def read(cls, value: bytes) -> Page:
        """What was kept as `value`."""
        due, interval, left, length = _HEAD.unpack_from(value)
        rest = value[_HEAD.size + length :]
        product = value[_HEAD.size : _HEAD.size + length]
        return cls(due, interval, left, product, _MODIFIED.unpack_from(rest)[0], rest[_MODIFIED.size :])

    def to_bytes(self) -> bytes:
        """At most LONGEST bytes: an ETag that does not fit is left out."""
        head = _HEAD.pack(self.due, self.interval, self.left, len(self.product)) + self.product
        room = LONGEST - len(head) - _MODIFIED.size
        return head + _MODIFIED.pack(self.modified) + (self.etag if len(self.etag) <= room else b"")

    def conditions(self) -> dict[str, bytes]:
        """The headers that ask for the page only where it has changed; none where it stated no validator."""
        headers = {}
        if self.etag:
            headers["If-None-Match"] = self.etag
        if self.modified:
            headers["If-Modified-Since"] = formatdate(self.modified, usegmt=True).encode()
        return headers


def validators(headers: Headers) -> tuple[int, bytes]:
    """(Last-Modified, ETag) of a response, as a Page has them."""
    parsed = parsedate_tz((headers.get("Last-Modified") or b"").decode("latin-1"))
    try:
        modified = max(0, mktime_tz(parsed)) if parsed else 0
    except (OverflowError, ValueError):
        modified = 0
    return modified if modified < 1 << 32 else 0, headers.get("ETag") or b""


def without_conditions(request: Request) -> None:
    """What was true of one visit is not stored for the next."""
    for name in ("If-None-Match", "If-Modified-Since"):
        request.headers.pop(name, None)


def never_skipped(value: bytes) -> bytes:
    """The same page, which must be read every time."""
    return value[:_LEFT] + b"\0" + value[_LEFT + 1 :]

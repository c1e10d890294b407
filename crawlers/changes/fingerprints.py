"""A product's fields in two bytes each: enough to tell whether one has changed, and which."""

from __future__ import annotations

import struct
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zlib import crc32

if TYPE_CHECKING:
    from crawlers.items import Product

FIELDS = (
    "name",
    "sku",
    "mpn",
    "gtin",
    "brand",
    "price",
    "currency",
    "availability",
    "condition",
    "description",
    "images",
    "breadcrumbs",
    "rating",
    "review_count",
    "canonical_url",
)
"""The fields that mean something to a consumer, in the order of their fingerprints. A new one goes to the end: what
was remembered without it says nothing of it. One that is to be left out stays here, and in CHANGES_IGNORE."""
_LAYOUT = struct.Struct(f">{len(FIELDS)}H")
_PRICE_PLACES = Decimal("0.0001")


def fingerprints(item: Product) -> bytes:
    """Two bytes for each of FIELDS; 0 is a field that the page does not state."""
    return _LAYOUT.pack(*(_fingerprint(getattr(item, name)) for name in FIELDS))


def differing(one: bytes, other: bytes) -> list[str]:
    """The fields whose fingerprints differ, of those that both have."""
    pairs = zip(FIELDS, struct.iter_unpack(">H", one), struct.iter_unpack(">H", other), strict=False)
    return [name for name, was, now in pairs if was != now]


def _fingerprint(value: Any) -> int:
    if value is None or value in ("", []):
        return 0
    return crc32(_as_bytes(value)) & 0xFFFF or 1


def _as_bytes(value: Any) -> bytes:
    if isinstance(value, Decimal):
        return str(value.quantize(_PRICE_PLACES)).encode()
    if isinstance(value, list):
        return "\n".join(value).encode()
    return str(value).encode()

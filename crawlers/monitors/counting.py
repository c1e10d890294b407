"""What is counted of a site's products: one note for each, which its request's settlement writes down.

So a product counts once where its request is settled, and not at all where it is not, whatever workers die.
lua/tallies.lua adds the notes up.
"""

from __future__ import annotations

import hashlib
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from crawlers.changes.notes import product_key
from crawlers.items import Product

if TYPE_CHECKING:
    from collections.abc import Collection

    from crawlers.changes.notes import Note
    from crawlers.outcomes import RequestRecord

FIELDS = (
    "name",
    "price",
    "currency",
    "availability",
    "images",
    "description",
    "brand",
    "sku",
    "gtin",
    "mpn",
    "breadcrumbs",
    "rating",
)
"""Those whose coverage is known, in the order of the bits of a product's mask. A new one goes to the end."""
ZERO_PRICE = 1 << 15
"""The bit of a product that costs nothing."""
COUNTED, UNREAD = "counted", "unread"
"""The kinds of notes: a product that was read, and one whose page was not sent as it is what it was."""
_SETTLED = ("delivered", "expanded", "empty", "filtered", "dead")
_LARGEST_PRICE = Decimal(10) ** 18


def note_of(item: Any) -> Note | None:
    """That of a product as its page shows it; None of what is none, as a product that is gone."""
    if not isinstance(item, Product) or item.change == "gone":
        return None
    if not (isinstance(item.site, str) and isinstance(item.identity, str) and item.identity):
        return None
    try:
        key = product_key(item.identity)
    except UnicodeEncodeError:
        return None
    price = item.price if isinstance(item.price, Decimal) and item.price.is_finite() else None
    mask = sum(1 << place for place, name in enumerate(FIELDS) if getattr(item, name) not in (None, "", []))
    if price is not None and price == 0:
        mask |= ZERO_PRICE
    return (COUNTED, "", item.site, key, mask, _sampled(key, price, item.currency))


def notes_of(record: RequestRecord, outcome: str, reason: str, sites: Collection[str]) -> list[Note]:
    """What a request that ended so tells of the products of `sites`."""
    if not sites or outcome not in _SETTLED:
        return []
    if outcome == "delivered" and reason == "not modified":
        site = record.request.meta.get("site")
        return [(UNREAD, "", site)] if site in sites else []
    return [note for note in record.counted if note[2] in sites]


def _sampled(key: bytes, price: Decimal | None, currency: Any) -> bytes:
    """8 bytes of the product's digest, by which a sample is drawn, and its price; b"" of one without."""
    if price is None or not 0 <= price < _LARGEST_PRICE or not isinstance(currency, str) or len(currency) != 3:
        return b""
    return hashlib.blake2b(key, digest_size=8).digest() + f"{price:.4f} {currency}".encode()

"""The items that spiders yield. One field here is one field in pipelines/schemas/products.avsc."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import asdict, dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

AVAILABILITIES = frozenset(
    {
        "BackOrder",
        "Discontinued",
        "InStock",
        "InStoreOnly",
        "LimitedAvailability",
        "MadeToOrder",
        "OnlineOnly",
        "OutOfStock",
        "PreOrder",
        "PreSale",
        "Reserved",
        "SoldOut",
    }
)
"""schema.org's ItemAvailability terms, without their prefix."""

CONDITIONS = frozenset({"DamagedCondition", "NewCondition", "RefurbishedCondition", "UsedCondition"})
"""schema.org's OfferItemCondition terms, without their prefix."""

CHANGES = frozenset({"new", "changed", "unchanged", "gone"})
"""What may have become of a product since the last crawl."""

CONTENT_ENCODINGS = frozenset({"gzip", "zstd"})
"""What a stored page may be compressed with, as HTTP names it."""

LONGEST_CONTENT_TYPE = 200
LONGEST_IDENTITY = 15_300
"""Bytes of UTF-8, which lua/products.lua keeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimCheck:
    """Where a large field's bytes are, in its place: docs/claim-check.md."""

    uri: str
    sha256: str
    """Of the bytes at `uri`, hex."""
    size: int
    """Bytes at `uri`."""
    content_type: str | None = None
    content_encoding: str | None = None
    """How to read the bytes at `uri`: None is as they are."""


PNG = "image/png"
"""The type of every screenshot."""


def exported(value: Any) -> Any:
    """A claimable field as feed exports write it: bytes as base64."""
    if isinstance(value, ClaimCheck):
        return asdict(value)
    return b64encode(value).decode() if isinstance(value, bytes) else value


@dataclass(slots=True, kw_only=True)
class Product:
    """One product as its page shows it, in schema.org's terms, and the lineage of that observation."""

    url: str
    """The address of the page, after redirects."""
    canonical_url: str
    """The page's own canonical address, absolute; `url` where it states none."""
    name: str
    sku: str | None = None
    mpn: str | None = None
    gtin: str | None = None
    """8, 12, 13 or 14 digits, with a right check digit."""
    brand: str | None = None
    price: Decimal | None = None
    """In units of `currency`; at most 4 decimal places reach the topic."""
    currency: str | None = None
    """ISO 4217, upper case."""
    availability: str | None = None
    """One of AVAILABILITIES."""
    condition: str | None = None
    """One of CONDITIONS."""
    description: str | None = None
    images: list[str] = field(default_factory=list)
    """Absolute URLs, in the page's order."""
    breadcrumbs: list[str] = field(default_factory=list)
    """Names from the root category down."""
    rating: float | None = None
    """The average, scaled to 0–5."""
    review_count: int | None = None
    language: str | None = None
    """The page's BCP 47 language tag."""

    site: str = ""
    """The name of the site's TOML; the page's domain where no site claims it."""
    identity: str = ""
    """What identifies the product within its site: the record key is `site/identity`."""
    fetched_at: datetime | None = None
    """UTC."""
    crawl_id: str = ""
    record_id: str = ""
    """Deterministic: the same crawl, request fingerprint and item index give the same id."""
    spider: str = ""
    worker: str = ""
    http_status: int = 0
    content_hash: str = ""
    """SHA-256 of the response body, hex."""
    rendered_by: str | None = None
    """The browser backend that rendered the page; None for plain HTTP."""
    proxy: str | None = None
    """The proxy's label, never its credentials."""
    extractor_version: str = ""
    change: str | None = None
    """One of CHANGES; None where changes are not told."""
    changed_fields: list[str] = field(default_factory=list)
    """The names of the fields that are not what they were, where `change` is "changed"."""
    content: bytes | ClaimCheck | None = field(default=None, metadata={"serializer": exported})
    """The body of the response, where STORE_CONTENT asks for it; compressed once it is past the ContentPipeline."""
    content_type: str | None = None
    """The Content-Type that `content` was served with."""
    content_encoding: str | None = None
    """What `content` is compressed with: zstd; None for not at all."""
    screenshot: bytes | ClaimCheck | None = field(default=None, metadata={"serializer": exported})
    """The rendered page as PNG, where its site's `[browser]` asks for it."""

"""The items that spiders yield. One field here is one field in pipelines/schemas/products.avsc."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

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

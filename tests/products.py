"""A product that is as it should be, to be changed."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from crawlers.items import Product


def product(**changes: Any) -> Product:
    good: dict[str, Any] = {
        "url": "http://shop.example/p/1",
        "canonical_url": "http://shop.example/p/1",
        "name": "Lamp",
        "price": Decimal("19.90"),
        "currency": "EUR",
        "site": "shop",
        "identity": "1",
        "fetched_at": datetime(2026, 1, 2, tzinfo=UTC),
        "crawl_id": "c",
        "record_id": "r",
        "spider": "product_spider",
        "worker": "w",
        "http_status": 200,
        "content_hash": "0" * 64,
        "extractor_version": "1",
    }
    return Product(**{**good, **changes})

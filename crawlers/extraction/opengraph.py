"""OpenGraph and product meta tags to product fields."""

from __future__ import annotations

from typing import Any

from crawlers.extraction.currencies import parse_currency
from crawlers.extraction.gtin import parse_gtin
from crawlers.extraction.page import Page
from crawlers.extraction.prices import parse_price
from crawlers.extraction.values import (
    parse_availability,
    parse_condition,
    parse_identifier,
    parse_prose,
    parse_text,
    parse_url,
)

_AMOUNTS = ("product:sale_price:amount", "product:price:amount", "og:price:amount", "product:price")
_CURRENCIES = ("product:sale_price:currency", "product:price:currency", "og:price:currency")
_PRICE_LABELS = frozenset({"price", "preis", "prix", "prezzo", "precio", "preço", "prijs", "cena", "pris", "hinta"})


def declares_product(page: Page) -> bool:
    """Whether the meta tags call the page a product: og:type 'product', 'product.item', 'shop:product', or a price."""
    kinds = (kind.strip().lower() for kind in page.metas.get("og:type", ()))
    named = any(kind.partition(".")[0].rpartition(":")[2] == "product" for kind in kinds)
    return named or page.meta(*_AMOUNTS) is not None


def read_opengraph(page: Page, currency: str | None) -> dict[str, Any]:
    """The product fields that meta tags state; empty values are left out."""
    return {
        "name": parse_text(page.meta("og:title", "twitter:title")),
        "description": parse_prose(page.meta("og:description")),
        "images": _images(page),
        "sku": parse_identifier(page.meta("product:retailer_item_id", "product:sku")),
        "mpn": parse_identifier(page.meta("product:mfr_part_no", "product:mpn")),
        "gtin": parse_gtin(page.meta("product:ean", "product:gtin", "product:upc", "product:isbn")),
        "brand": parse_text(page.meta("product:brand", "og:brand"), limit=200),
        "availability": parse_availability(page.meta("product:availability", "og:availability")),
        "condition": parse_condition(page.meta("product:condition", "og:condition")),
        **_price(page, currency),
    }


def _price(page: Page, fallback: str | None) -> dict[str, Any]:
    stated = page.meta(*_AMOUNTS) or _labelled_price(page)
    country, locale = page.country, page.locale
    code = parse_currency(page.meta(*_CURRENCIES), country=country, locale=locale, fallback=fallback)
    amount = parse_price(stated, locale=locale, currency=code or fallback)
    if amount and not code:
        code = parse_currency(amount.sign, country=country, locale=locale, fallback=fallback)
    return {"price": amount.value if amount else None, "currency": code}


def _labelled_price(page: Page) -> str | None:
    """Twitter cards carry pairs of label and data; only one that is called a price is one."""
    for place in ("1", "2"):
        label = page.meta(f"twitter:label{place}")
        if label and label.strip().lower().rstrip(":") in _PRICE_LABELS:
            return page.meta(f"twitter:data{place}")
    return None


def _images(page: Page) -> list[str]:
    names = ("og:image", "og:image:secure_url", "og:image:url")
    found = [content for name in names for content in page.metas.get(name, ())] or page.metas.get("twitter:image", [])
    return list(dict.fromkeys(filter(None, (parse_url(content, page.base) for content in found[:100]))))

"""What a right record of each product holds: the item's fields, each only where the page's markup carries it."""

from __future__ import annotations

from typing import Any

from deploy.demo_shop.catalog import ShopProduct
from deploy.demo_shop.shop import Shop

ALWAYS = ("url", "canonical_url", "language", "name", "markup", "section", "needs_js", "closed", "reachable")
META_TAGS_CARRY = ("sku", "brand", "price", "currency", "availability", "condition", "description", "images")
"""What pages with nothing but OpenGraph and product meta tags say."""


def truth_of(shop: Shop, product: ShopProduct) -> dict[str, Any]:
    """The price is text with the currency's places; a page's visible text alone counts where markup is "visible"."""
    facts = _facts(shop, product)
    kept = META_TAGS_CARRY if product.markup == "opengraph" else tuple(facts)
    return {key: value for key, value in facts.items() if value is not None and key in (*kept, *ALWAYS)}


def _facts(shop: Shop, product: ShopProduct) -> dict[str, Any]:
    locale, category = product.locale, product.category
    return {
        "url": shop.url(product),
        "canonical_url": shop.url(product),
        "language": locale.locale,
        "name": product.name,
        "sku": product.sku,
        "mpn": product.mpn,
        "gtin": product.gtin,
        "brand": product.brand,
        "price": shop.plain_price(product),
        "currency": locale.currency,
        "availability": product.best_availability,
        "condition": product.condition,
        "description": product.description,
        "images": [shop.bases[locale.number] + path for path in product.images],
        "breadcrumbs": [locale.departments[category.department], category.name],
        "rating": product.rating,
        "review_count": product.review_count,
        "markup": product.markup,
        "section": category.section,
        "needs_js": category.section == "js",
        "closed": category.section == "private",
        "reachable": product.reachable,
    }

"""The same facts in the several spellings that real shops use, chosen by the product's place in the catalogue."""

from __future__ import annotations

from deploy.demo_shop.catalog import ShopProduct

_SCHEMA_PREFIXES = ("https://schema.org/", "http://schema.org/", "", "https://schema.org/")

_OPEN_GRAPH = {
    "InStock": ("in stock", "instock"),
    "OutOfStock": ("out of stock", "oos"),
    "PreOrder": ("preorder", "preorder"),
    "BackOrder": ("backorder", "backorder"),
    "Discontinued": ("discontinued", "discontinued"),
}


def schema_term(product: ShopProduct, term: str) -> str:
    return _SCHEMA_PREFIXES[product.index % len(_SCHEMA_PREFIXES)] + term


def open_graph_availability(product: ShopProduct) -> str:
    term = product.best_availability
    return _OPEN_GRAPH.get(term, (term, term))[product.index % 2]


def gtin_key(product: ShopProduct) -> str:
    assert product.gtin
    return "gtin" if product.index % 5 == 0 else f"gtin{len(product.gtin)}"


def scaled_rating(product: ShopProduct) -> str:
    """The rating on the page's own scale: 4.3 of 5, 8.6 of 10, 86 of 100."""
    assert product.rating
    return f"{product.rating * product.rating_scale / 5:.3f}".rstrip("0").rstrip(".")

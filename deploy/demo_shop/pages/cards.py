"""A product in a list: a small card, alike on category pages, on the home page and under "related"."""

from __future__ import annotations

from html import escape

from deploy.demo_shop.catalog import ShopProduct
from deploy.demo_shop.markup.attributes import Bare
from deploy.demo_shop.shop import Shop

_BARE = Bare()


def cards(shop: Shop, products: list[ShopProduct]) -> str:
    return "".join(card(shop, product) for product in products)


def card(shop: Shop, product: ShopProduct, *, source: str = "", attributes: Bare = _BARE, scope: str = "") -> str:
    """`source` is a query that makes the link a tracking duplicate: the same page under another address."""
    a = attributes
    name = escape(product.name)
    href = product.path + source
    return (
        f'<article class="card"{scope}><a href="{escape(href)}"{a.prop("url")}>'
        f'<img loading="lazy" src="{product.images[0]}" alt="{name}" width="320" height="240">'
        f"<h3{a.prop('name')}>{name}</h3></a>"
        f'<p class="price"{a.scope("Offer", "offers")}><span{a.value("price", shop.plain_price(product))}>'
        f"{shop.visible_price(product)}</span>{a.meta('priceCurrency', product.locale.currency)}</p></article>\n"
    )

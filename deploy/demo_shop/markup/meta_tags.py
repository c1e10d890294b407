"""OpenGraph and product meta tags. Most shops have the first few for sharing; some have nothing else."""

from __future__ import annotations

from html import escape

from deploy.demo_shop.catalog import ShopProduct
from deploy.demo_shop.markup.terms import open_graph_availability
from deploy.demo_shop.shop import Shop

_CONDITIONS = {"NewCondition": "new", "RefurbishedCondition": "refurbished", "UsedCondition": "used"}


def meta_tags(shop: Shop, product: ShopProduct) -> str:
    if product.markup == "visible":
        return ""
    tags = _sharing_tags(shop, product)
    if product.markup == "opengraph":
        tags += _product_tags(shop, product)
    return "".join(f'<meta property="{name}" content="{escape(content)}">\n' for name, content in tags)


def _sharing_tags(shop: Shop, product: ShopProduct) -> list[tuple[str, str]]:
    base = shop.bases[product.locale.number]
    count = len(product.images) if product.markup == "opengraph" else 1
    return [
        ("og:type", "product"),
        ("og:site_name", product.locale.title),
        ("og:title", product.name),
        ("og:url", shop.url(product)),
        ("og:locale", product.locale.locale.replace("-", "_")),
        *(("og:image", base + path) for path in product.images[:count]),
    ]


def _product_tags(shop: Shop, product: ShopProduct) -> list[tuple[str, str]]:
    """In the two spellings in use: product:price:amount and og:price:amount."""
    prefix = "og" if product.index % 3 == 0 else "product"
    tags = [
        ("og:description", product.description),
        (f"{prefix}:price:amount", shop.plain_price(product)),
        (f"{prefix}:price:currency", product.locale.currency),
        ("product:availability", open_graph_availability(product)),
        ("product:retailer_item_id", product.sku),
    ]
    if product.brand:
        tags.append(("product:brand", product.brand))
    if product.condition:
        tags.append(("product:condition", _CONDITIONS[product.condition]))
    return tags

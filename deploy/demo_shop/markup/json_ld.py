"""JSON-LD in the shapes found in the wild: plain, @graph, nested, slightly broken, among other products, variants."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from deploy.demo_shop.catalog import ShopProduct
from deploy.demo_shop.markup.terms import gtin_key, scaled_rating, schema_term
from deploy.demo_shop.shop import Shop

Node = dict[str, Any]
CONTEXT = {"@context": "https://schema.org"}


def json_ld_scripts(shop: Shop, product: ShopProduct) -> str:
    """The page's script elements."""
    shape = _SHAPES.get(product.markup)
    return (
        "".join(f'<script type="application/ld+json">{text}</script>\n' for text in shape(shop, product))
        if shape
        else ""
    )


def product_node(shop: Shop, product: ShopProduct) -> Node:
    base = shop.bases[product.locale.number]
    images = [base + path for path in product.images]
    node: Node = {
        "@type": ["Product", "IndividualProduct"] if product.index % 9 == 4 else "Product",
        "name": product.name,
        "sku": product.sku,
        "url": shop.url(product),
        "image": _spelled_images(product, images),
        "description": product.description,
        "offers": _offers(shop, product),
    }
    if product.brand:
        node["brand"] = {"@type": "Brand", "name": product.brand} if product.index % 3 else product.brand
    if product.mpn:
        node["mpn"] = product.mpn
    if product.gtin:
        node[gtin_key(product)] = product.gtin
    if product.rating:
        node["aggregateRating"] = _rating(product)
    return node


def _spelled_images(product: ShopProduct, images: list[str]) -> Any:
    if product.index % 4 == 0:
        return [{"@type": "ImageObject", "url": url, "width": 640, "height": 480} for url in images]
    return images[0] if len(images) == 1 else images


def _rating(product: ShopProduct) -> Node:
    scaled = scaled_rating(product)
    rating: Node = {"@type": "AggregateRating", "ratingValue": scaled, "reviewCount": product.review_count}
    if product.rating_scale != 5 or product.index % 2:
        rating["bestRating"] = product.rating_scale
    return rating


def _offers(shop: Shop, product: ShopProduct) -> Any:
    own = _offer(shop, product, product.availability)
    if not product.offers:
        return own
    others = [
        _offer(shop, product, offer.availability, offer.surcharge)
        | {"seller": {"@type": "Organization", "name": offer.seller}}
        for offer in product.offers
    ]
    if product.index % 2:
        return [own, *others]
    top = max(offer.surcharge for offer in product.offers)
    return {
        "@type": "AggregateOffer",
        "lowPrice": shop.plain_price(product),
        "highPrice": shop.plain_price(product, top),
        "priceCurrency": product.locale.currency,
        "offerCount": 1 + len(others),
        "offers": [own, *others],
    }


def _offer(shop: Shop, product: ShopProduct, availability: str, surcharge: Decimal = Decimal(0)) -> Node:
    offer: Node = {
        "@type": "Offer",
        "url": shop.url(product),
        **_price(shop, product, surcharge),
        "availability": schema_term(product, availability),
    }
    if product.condition:
        offer["itemCondition"] = schema_term(product, product.condition)
    return offer


def _price(shop: Shop, product: ShopProduct, surcharge: Decimal) -> Node:
    """A string mostly; a number, a locale's own form, or a price specification where shops do so."""
    price: Any = shop.plain_price(product, surcharge)
    if product.index % 17 == 9:
        specification = {"@type": "UnitPriceSpecification", "price": price, "priceCurrency": product.locale.currency}
        return {"priceSpecification": specification}
    if product.locale.locale == "de-DE" and product.index % 6 == 5:
        price = shop.visible_price(product, surcharge)
    elif product.index % 3 == 1:
        price = float(price)
    return {"price": price, "priceCurrency": product.locale.currency}


def breadcrumb_node(shop: Shop, product: ShopProduct) -> Node:
    locale, category = product.locale, product.category
    base = shop.bases[locale.number]
    steps = [(locale.departments[category.department], f"/c/{category.department}"), (category.name, category.path)]
    return {
        "@type": "BreadcrumbList",
        "itemListElement": [
            {"@type": "ListItem", "position": position, "name": name, "item": base + path}
            for position, (name, path) in enumerate(steps, start=1)
        ],
    }


def _dump(product: ShopProduct, value: Any) -> str:
    # A page that is not UTF-8 escapes what its charset may lack; "</" would end the script.
    return json.dumps(value, ensure_ascii=product.locale.charset != "utf-8").replace("</", "<\\/")


def _plain(shop: Shop, product: ShopProduct) -> list[str]:
    node = CONTEXT | product_node(shop, product)
    if product.index % 13 == 6:
        node = _odd_case(node)
    return [_dump(product, node), _dump(product, CONTEXT | breadcrumb_node(shop, product))]


def _odd_case(node: Node) -> Node:
    shouted = {key.upper() if key in ("sku", "mpn", "name") else key: value for key, value in node.items()}
    return shouted | {"@type": "product", "@context": "http://schema.org/"}


def _graph(shop: Shop, product: ShopProduct) -> list[str]:
    base = shop.bases[product.locale.number]
    site = {"@type": "WebSite", "@id": f"{base}/#site", "name": product.locale.title, "url": f"{base}/"}
    organization = {"@type": "Organization", "@id": f"{base}/#shop", "name": product.locale.title}
    main = product_node(shop, product) | {"@id": f"{shop.url(product)}#product"}
    return [_dump(product, CONTEXT | {"@graph": [organization, site, breadcrumb_node(shop, product), main]})]


def _item_page(shop: Shop, product: ShopProduct) -> list[str]:
    page = {
        "@type": "ItemPage",
        "name": f"{product.name} – {product.locale.title}",
        "breadcrumb": breadcrumb_node(shop, product),
        "mainEntity": product_node(shop, product),
    }
    return [_dump(product, CONTEXT | page)]


def _broken(shop: Shop, product: ShopProduct) -> list[str]:
    """Comments and trailing commas, as templates leave them behind."""
    body = _dump(product, CONTEXT | product_node(shop, product)).removesuffix("}") + ",\n}"
    comment = "/* product data, generated */\n" if product.index % 2 else "// product data\n"
    return [comment + body, _dump(product, CONTEXT | breadcrumb_node(shop, product))]


def _among_others(shop: Shop, product: ShopProduct) -> list[str]:
    """Only the last of the list is the one that the page's h1 names."""
    others = shop.catalog.domains[product.locale.number].related(product, 3)
    nodes = [CONTEXT | product_node(shop, other) for other in [*others, product]]
    return [_dump(product, nodes), _dump(product, CONTEXT | breadcrumb_node(shop, product))]


def _group(shop: Shop, product: ShopProduct) -> list[str]:
    """One page's ProductGroup holds every variant; what they share stands on the group alone."""
    variants = []
    for variant in _variants(shop, product):
        node = product_node(shop, variant) | {"color": variant.color, "size": variant.size}
        variants.append({key: value for key, value in node.items() if key not in _SHARED})
    shared = {key: value for key, value in product_node(shop, product).items() if key in _SHARED}
    group = _group_head(product) | shared | {"hasVariant": variants}
    return [_dump(product, CONTEXT | group), _dump(product, CONTEXT | breadcrumb_node(shop, product))]


def _variant(shop: Shop, product: ShopProduct) -> list[str]:
    """The page describes its own variant whole and only links to the others."""
    others = [{"@type": "Product", "url": shop.url(v)} for v in _variants(shop, product) if v.sku != product.sku]
    node = product_node(shop, product) | {"color": product.color, "size": product.size}
    node["isVariantOf"] = _group_head(product) | {"hasVariant": others}
    return [_dump(product, CONTEXT | node), _dump(product, CONTEXT | breadcrumb_node(shop, product))]


_SHARED = ("brand", "description", "aggregateRating")


def _group_head(product: ShopProduct) -> Node:
    return {
        "@type": "ProductGroup",
        "productGroupID": product.group,
        "name": product.group_name,
        "variesBy": ["https://schema.org/color", "https://schema.org/size"],
    }


def _variants(shop: Shop, product: ShopProduct) -> list[ShopProduct]:
    assert product.group
    return shop.catalog.domains[product.locale.number].variants(product)


_SHAPES = {
    "json-ld": _plain,
    "json-ld-graph": _graph,
    "json-ld-itempage": _item_page,
    "json-ld-broken": _broken,
    "json-ld-many": _among_others,
    "json-ld-group": _group,
    "json-ld-variant": _variant,
    "js": _plain,
}

"""A product's page. One template: the markup decides what its elements tell machines."""

from __future__ import annotations

from html import escape

from deploy.demo_shop.catalog import ShopProduct
from deploy.demo_shop.markup.attributes import Bare, attributes_for
from deploy.demo_shop.markup.json_ld import json_ld_scripts
from deploy.demo_shop.markup.meta_tags import meta_tags
from deploy.demo_shop.markup.terms import gtin_key, scaled_rating, schema_term
from deploy.demo_shop.pages.cards import card
from deploy.demo_shop.pages.layout import canonical, page
from deploy.demo_shop.shop import Shop


def product_page(shop: Shop, product: ShopProduct) -> str:
    summary = escape(product.description[:150])
    head = (
        canonical(shop.url(product))
        + f'<meta name="description" content="{summary}">\n'
        + meta_tags(shop, product)
        + json_ld_scripts(shop, product)
    )
    return page(product.locale, title=product.name, content=product_body(shop, product), head=head)


def product_body(shop: Shop, product: ShopProduct) -> str:
    a = attributes_for(product.markup)
    return (
        f'{_breadcrumbs(product, a)}\n<div{a.scope("Product")}>\n<div class="product">\n{_gallery(product, a)}\n<div>\n'
        f"<h1{a.prop('name')}>{escape(product.name)}</h1>\n{_rating(product, a)}{_price(shop, product, a)}\n"
        f'{_variants(shop, product)}<button type="button">{escape(product.locale.ui["buy"])}</button>\n'
        f"{_other_sellers(shop, product, a)}{_details(product, a)}</div>\n</div>\n{_description(product, a)}"
        f"{_reviews(product, a)}{_service(product)}{_related(shop, product, a)}</div>"
    )


def _breadcrumbs(product: ShopProduct, a: Bare) -> str:
    locale, category = product.locale, product.category
    steps = [(locale.departments[category.department], f"/c/{category.department}"), (category.name, category.path)]
    items = "".join(
        f'<span{a.scope("ListItem", "itemListElement")}><a href="{path}"{a.prop("item")}>'
        f"<span{a.prop('name')}>{escape(name)}</span></a>{a.meta('position', str(position))}</span>"
        for position, (name, path) in enumerate(steps, start=1)
    )
    home = f'<a href="/">{escape(locale.ui["home"])}</a>'
    return f'<nav class="crumbs"{a.scope("BreadcrumbList")}>{home}{items}</nav>'


def _gallery(product: ShopProduct, a: Bare) -> str:
    name = escape(product.name)
    images = "".join(
        f'<img{a.prop("image")} src="{path}" alt="{name}" width="640" height="480">' for path in product.images
    )
    return f'<div class="gallery">{images}</div>'


def _rating(product: ShopProduct, a: Bare) -> str:
    if not product.rating:
        return ""
    shown = f"{product.rating:.1f}"
    if product.locale.locale == "de-DE":
        shown = shown.replace(".", ",")
    stars = "★" * round(product.rating) + "☆" * (5 - round(product.rating))
    return (
        f'<p class="rating"{a.scope("AggregateRating", "aggregateRating")}>{stars} '
        f"<span{a.value('ratingValue', scaled_rating(product))}>{shown}</span> {product.locale.ui['of_five']} "
        f"({a.meta('bestRating', str(product.rating_scale))}"
        f"<span{a.prop('reviewCount')}>{product.review_count}</span>)</p>\n"
    )


def _price(shop: Shop, product: ShopProduct, a: Bare) -> str:
    plain, shown = shop.plain_price(product), shop.visible_price(product)
    # Some shops mark up the text itself, so that its reader must know the locale's separators.
    value = a.prop("price") if product.index % 4 == 1 and product.markup == "microdata" else a.value("price", plain)
    condition = a.link("itemCondition", schema_term(product, product.condition)) if product.condition else ""
    return (
        f'<div{a.scope("Offer", "offers")}><p class="price"><span{value}>{shown}</span>'
        f"{a.meta('priceCurrency', product.locale.currency)}</p>"
        f'<p class="stock">{a.link("availability", schema_term(product, product.availability))}{condition}'
        f"{escape(product.locale.availability[product.best_availability])}</p></div>"
    )


def _variants(shop: Shop, product: ShopProduct) -> str:
    if not product.group:
        return ""
    links = ""
    for variant in shop.catalog.domains[product.locale.number].variants(product):
        label = escape(f"{variant.color} / {variant.size}")
        links += f"<b>{label}</b>" if variant.sku == product.sku else f'<a href="{variant.path}">{label}</a>'
    return f'<p class="note">{escape(product.locale.ui["variants"])}</p><div class="variants">{links}</div>\n'


def _other_sellers(shop: Shop, product: ShopProduct, a: Bare) -> str:
    if not product.offers:
        return ""
    items = "".join(
        f"<li{a.scope('Offer', 'offers')}><span{a.scope('Organization', 'seller')}><span{a.prop('name')}>"
        f"{escape(offer.seller)}</span></span>: "
        f"<span{a.value('price', shop.plain_price(product, offer.surcharge))}>"
        f"{shop.visible_price(product, offer.surcharge)}</span>{a.meta('priceCurrency', product.locale.currency)}"
        f"{a.link('availability', schema_term(product, offer.availability))}, "
        f"{escape(product.locale.availability[offer.availability])}</li>"
        for offer in product.offers
    )
    return f'<h2>{escape(product.locale.ui["other_sellers"])}</h2><ul class="sellers">{items}</ul>\n'


def _details(product: ShopProduct, a: Bare) -> str:
    ui = product.locale.ui
    rows = [
        ("sku", a.prop("sku"), product.sku),
        ("mpn", a.prop("mpn"), product.mpn),
        ("gtin", a.prop(gtin_key(product)) if product.gtin else "", product.gtin),
        ("condition", "", product.condition and product.locale.condition[product.condition]),
        ("color", a.prop("color"), product.color),
        ("size", a.prop("size"), product.size),
        ("material", a.prop("material"), product.material),
        ("weight", "", f"{product.weight} g"),
    ]
    shown = "".join(f"<dt>{escape(ui[key])}</dt><dd{attr}>{escape(text)}</dd>" for key, attr, text in rows if text)
    return f"<h2>{escape(ui['details'])}</h2>\n<dl>{_brand(product, a)}{shown}</dl>\n"


def _brand(product: ShopProduct, a: Bare) -> str:
    if not product.brand:
        return ""
    label, brand = escape(product.locale.ui["brand"]), escape(product.brand)
    if product.index % 2:
        return f"<dt>{label}</dt><dd{a.prop('brand')}>{brand}</dd>"
    return f"<dt>{label}</dt><dd{a.scope('Brand', 'brand')}><span{a.prop('name')}>{brand}</span></dd>"


def _description(product: ShopProduct, a: Bare) -> str:
    title = escape(product.locale.ui["description"])
    return f"<h2>{title}</h2>\n<div{a.prop('description')}>{escape(product.description)}</div>\n"


def _reviews(product: ShopProduct, a: Bare) -> str:
    texts = product.locale.reviews
    items = "".join(
        f'<div class="review"{a.scope("Review", "review")}>'
        f"<p{a.prop('reviewBody')}>{escape(texts[(product.index + n) % len(texts)])}</p>"
        f"<small{a.prop('author')}>{author}</small><span{a.scope('Rating', 'reviewRating')}>"
        f"{a.meta('ratingValue', str(2 + (product.index + n) % 4))}</span></div>\n"
        for n, author in enumerate(("A. K.", "M. T.", "R. S."))
    )
    return f"<h2>{escape(product.locale.ui['reviews'])}</h2>\n{items}"


def _service(product: ShopProduct) -> str:
    paragraphs = "".join(f"<p>{escape(text)}</p>" for text in product.locale.service)
    return f"<h2>{escape(product.locale.ui['service'])}</h2>\n{paragraphs}\n"


def _related(shop: Shop, product: ShopProduct, a: Bare) -> str:
    """Other products, marked up as products where the page is: a trap for whoever takes the first price."""
    others = shop.catalog.domains[product.locale.number].related(product)
    scope = a.scope("Product", "isRelatedTo")
    items = "".join(
        card(shop, other, source="?ref=related" if other.index % 12 == 0 else "", attributes=a, scope=scope)
        for other in others
    )
    return f'<h2>{escape(product.locale.ui["related"])}</h2>\n<div class="grid">{items}</div>\n'

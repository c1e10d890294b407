"""HTML to product: each syntax, their merging, and which product a page is about."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from parsel import Selector

from crawlers.extraction import Extraction, extract

URL = "https://shop.test/p/oak-chair"


def read(html: str, url: str = URL, **site: str) -> Extraction:
    return extract(Selector(text=html, type="html").root, url, **site)


def page(*data: Any, h1: str = "Oak chair", head: str = "", body: str = "", lang: str = "en") -> str:
    scripts = "".join(f'<script type="application/ld+json">{json.dumps(block)}</script>' for block in data)
    return f"<html lang={lang}><head>{head}{scripts}</head><body><h1>{h1}</h1>{body}</body></html>"


def product(name: str = "Oak chair", **fields: Any) -> dict[str, Any]:
    return {"@context": "https://schema.org", "@type": "Product", "name": name, **fields}


def offer(price: Any = "49.90", availability: str = "InStock", **fields: Any) -> dict[str, Any]:
    return {"@type": "Offer", "price": price, "priceCurrency": "EUR", "availability": availability, **fields}


FULL = product(
    "Oak &amp; steel  chair",
    sku="OC-1",
    mpn="M 1",
    gtin13="4006381333931",
    brand={"@type": "Brand", "name": "Seine"},
    description="&lt;p&gt;Solid&lt;/p&gt; oak.",
    image=["/1.jpg", {"@type": "ImageObject", "url": "//cdn.test/2.jpg"}, "/1.jpg"],
    aggregateRating={"ratingValue": "9", "bestRating": 10, "reviewCount": "1,204"},
    offers=[offer(itemCondition="https://schema.org/NewCondition")],
)
TRAIL = {
    "@type": "BreadcrumbList",
    "itemListElement": [
        {"@type": "ListItem", "position": 2, "item": {"@id": "/c/chairs", "name": "Chairs"}},
        {"@type": "ListItem", "position": 1, "name": "Home", "item": "/"},
    ],
}


def test_json_ld_gives_every_field():
    head = "<link rel=canonical href='/p/1'>"
    extraction = read(page(FULL, TRAIL, h1="Oak & steel chair", head=head))
    assert extraction.product == {
        "name": "Oak & steel chair",
        "sku": "OC-1",
        "mpn": "M 1",
        "gtin": "4006381333931",
        "brand": "Seine",
        "description": "Solid oak.",
        "images": ["https://shop.test/1.jpg", "https://cdn.test/2.jpg"],
        "price": Decimal("49.90"),
        "currency": "EUR",
        "availability": "InStock",
        "condition": "NewCondition",
        "rating": 4.5,
        "review_count": 1204,
        "breadcrumbs": ["Home", "Chairs"],
        "language": "en",
        "canonical_url": "https://shop.test/p/1",
    }
    assert extraction.canonical_url == "https://shop.test/p/1"
    assert extraction.sources["price"] == "json-ld"


MICRODATA = """
<div itemscope itemtype="http://schema.org/Product" itemref="more">
  <h1 itemprop="name">Oak chair</h1><img itemprop="image" src="/1.jpg"><meta itemprop="sku" content="OC-1">
  <a itemprop="brand" href="/b">Seine</a>
  <div itemprop="offers" itemscope itemtype="http://schema.org/Offer">
    <span itemprop="price">1.299</span> <span itemprop="priceCurrency" content="EUR">€</span>
    <link itemprop="availability" href="http://schema.org/InStock">
  </div>
  <div itemprop="aggregateRating" itemscope><data itemprop="ratingValue" value="4.5">4½</data></div>
</div>
<p id="more" itemprop="description">Solid <b>oak</b>.</p>
<ol itemscope itemtype="https://schema.org/BreadcrumbList">
  <li itemprop="itemListElement" itemscope><a itemprop="item" href="/"><span itemprop="name">Home</span></a></li>
  <li itemprop="itemListElement" itemscope><a itemprop="item" href="/c"><span itemprop="name">Chairs</span></a></li>
</ol>"""
RDFA = """
<div vocab="https://schema.org/" typeof="Product" prefix="og: http://ogp.me/ns#">
  <h1 property="name">Oak chair</h1><img property="image" src="/1.jpg"><meta property="sku" content="OC-1">
  <span property="brand">Seine</span><span property="description">Solid oak.</span>
  <div property="offers" typeof="Offer">
    <span property="price">1.299</span> <span property="priceCurrency" content="EUR">€</span>
    <link property="availability" href="http://schema.org/InStock">
  </div>
  <div property="aggregateRating" typeof="AggregateRating"><span property="ratingValue">4.5</span></div>
</div>
<ol vocab="https://schema.org/" typeof="BreadcrumbList">
  <li property="itemListElement" typeof="ListItem"><span property="name">Home</span></li>
  <li property="itemListElement" typeof="ListItem"><span property="name">Chairs</span></li>
</ol>"""


@pytest.mark.parametrize(("source", "body"), [("microdata", MICRODATA), ("rdfa", RDFA)])
def test_markup_gives_the_same_product_as_its_author_wrote(source, body):
    extraction = read(f"<html lang=de><body>{body}")
    assert extraction.product == {
        "name": "Oak chair",
        "images": ["https://shop.test/1.jpg"],
        "sku": "OC-1",
        "brand": "Seine",
        "description": "Solid oak.",
        "price": Decimal(1299),
        "currency": "EUR",
        "availability": "InStock",
        "rating": 4.5,
        "breadcrumbs": ["Home", "Chairs"],
        "language": "de",
    }
    assert {extraction.sources[name] for name in extraction.product} == {source, "html"}


@pytest.mark.parametrize(
    "body",
    [
        '<div typeof="schema:Product"><b property="schema:name">Oak chair</b></div>',
        '<div prefix="so: http://schema.org/" typeof="so:Product"><b property="so:name">Oak chair</b></div>',
        '<div typeof="http://schema.org/Product"><b property="http://schema.org/name">Oak chair</b></div>',
        '<div vocab="http://schema.org/"><div typeof="Product"><b property="name">Oak chair</b></div></div>',
    ],
)
def test_rdfa_names_schema_org_in_several_ways(body):
    assert read(body).product == {"name": "Oak chair"}


def test_rdfa_of_another_vocabulary_is_no_product():
    body = '<div vocab="http://xmlns.com/foaf/0.1/" typeof="Product"><b property="name">Oak chair</b></div>'
    assert read(page(body=body)).product is None


def test_meta_tags_alone_give_a_product():
    head = """<meta property=og:type content=product><meta property=og:title content="Oak chair">
    <meta property=og:image content=/1.jpg><meta property=og:locale content=de_AT><meta property=og:url content=/p/1>
    <meta property=product:price:amount content="1.299,00"><meta property=product:price:currency content=EUR>
    <meta property=product:availability content=oos><meta property=product:brand content=Seine>
    <meta property=product:retailer_item_id content=OC-1>"""
    extraction = read(f"<html><head>{head}</head></html>")
    assert extraction.product == {
        "name": "Oak chair",
        "images": ["https://shop.test/1.jpg"],
        "price": Decimal("1299.00"),
        "currency": "EUR",
        "availability": "OutOfStock",
        "brand": "Seine",
        "sku": "OC-1",
        "language": "de-AT",
        "canonical_url": "https://shop.test/p/1",
    }
    assert extraction.sources["price"] == "opengraph"


@pytest.mark.parametrize("kind", ["product", "product.item", "og:product", "someshop:product"])
def test_open_graph_type_declares_a_product(kind):
    assert read(f"<meta property=og:type content='{kind}'><meta property=og:title content=Chair>").product


def test_sources_are_merged_field_by_field_in_order_of_trust():
    head = "<meta property=og:title content=Other><meta property=product:brand content=Brandy>"
    extraction = read(page(product(sku="LD"), head=head, body=MICRODATA.replace("OC-1", "MD")))
    assert [extraction.product[name] for name in ("sku", "brand", "price")] == ["LD", "Seine", Decimal("1.299")]
    assert [extraction.sources[name] for name in ("sku", "brand", "price")] == ["json-ld", "microdata", "microdata"]


def test_price_comes_with_the_currency_of_its_own_source():
    lone = product(offers={"@type": "Offer", "priceCurrency": "USD"})
    extraction = read(page(lone, body=MICRODATA))
    assert (extraction.product["currency"], extraction.sources["currency"]) == ("EUR", "microdata")


def test_site_speaks_where_the_page_is_silent():
    body = MICRODATA.replace('content="EUR"', "").replace(">€<", "><")
    extraction = read(body, locale="de", currency="CHF")
    assert (extraction.product["price"], extraction.product["currency"]) == (Decimal(1299), "CHF")


@pytest.mark.parametrize(
    "block",
    [
        {"@graph": [{"@type": "WebSite"}, product()]},
        {"@type": "ItemPage", "mainEntity": product()},
        {"@type": "ItemList", "itemListElement": [{"@type": "ListItem", "item": product()}]},
        [[product()]],
        {"@type": "PRODUCT", "Name": "Oak chair"},
        {"@type": ["Thing", "http://schema.org/Product"], "https://schema.org/name": {"@value": "Oak chair"}},
        {"@type": "schema:Product", "schema:name": ["Oak chair"]},
        {"@graph": [{"@type": "WebPage", "mainEntity": {"@id": "#p"}}, product() | {"@id": "#p"}]},
        {"@type": "Offer", "itemOffered": product()},
        {"@type": "Book", "name": "Oak chair", "offers": []},
    ],
)
def test_json_ld_product_is_found_wherever_it_is_and_however_spelled(block):
    assert read(page(block)).product["name"] == "Oak chair"


def test_references_are_resolved_across_blocks():
    brand = {"@type": "Brand", "@id": "#brand", "name": "Seine"}
    assert read(page(product(brand={"@id": "#brand"}), brand)).product["brand"] == "Seine"


def test_nodes_of_one_id_are_one_product():
    first, second = product(sku="1") | {"@id": "#p"}, product(offers=offer()) | {"@id": "#p"}
    found = read(page(first, second)).product
    assert (found["sku"], found["price"]) == ("1", Decimal("49.90"))


def test_broken_block_is_mended():
    html = page().replace(
        "</head>", '<script type="application/ld+json">{"@type":"Product","name":"Oak\nchair",}</script>'
    )
    assert read(html).product["name"] == "Oak chair"


@pytest.mark.parametrize(
    ("offers", "price", "availability"),
    [
        (offer(), "49.90", "InStock"),
        ([offer("10", "OutOfStock"), offer("20"), offer("15")], "20", "InStock"),
        ([offer("10", "OutOfStock"), offer("20", "PreOrder")], "20", "PreOrder"),
        ([offer(None, "InStock"), offer("20", "OutOfStock")], "20", "InStock"),
        ({"@type": "AggregateOffer", "lowPrice": 9, "priceCurrency": "EUR"}, "9", None),
        ({"@type": "AggregateOffer", "lowPrice": 9, "offers": [offer("12")]}, "12", "InStock"),
        ({"@type": "Offer", "priceSpecification": {"price": 5.5, "priceCurrency": "EUR"}}, "5.5", None),
        (
            {
                "@type": "Offer",
                "priceSpecification": [
                    {"price": 8, "priceType": "https://schema.org/ListPrice"},
                    {"price": 2, "referenceQuantity": {"value": 100}},
                    {"price": 7},
                ],
            },
            "7",
            None,
        ),
    ],
)
def test_best_offer_counts(offers, price, availability):
    found = read(page(product(offers=offers))).product
    assert (found["price"], found.get("availability")) == (Decimal(price), availability)


def test_offer_says_what_the_product_does_not():
    found = read(page(product(offers=offer(sku="S-1", gtin13="4006381333931")))).product
    assert (found["sku"], found["gtin"]) == ("S-1", "4006381333931")


def test_lone_offer_beside_the_product_is_its_own():
    assert read(page(product(), offer("5"))).product["price"] == Decimal(5)


def test_sizes_written_as_products_of_one_name_share_their_offers():
    sizes = [product(sku="36", offers=offer("10", "OutOfStock")), product(sku="37", offers=offer("12"))]
    found = read(page(sizes)).product
    assert (found["price"], found["availability"]) == (Decimal(12), "InStock")


def test_group_has_the_offers_of_its_variants_and_prefers_the_one_of_this_page():
    variants = [
        product("Oak chair red", url="/p/red", offers=offer("1")),
        product("Oak chair", url=URL, offers=offer("2")),
    ]
    group = {"@type": "ProductGroup", "name": "Oak chair", "productGroupID": "G", "hasVariant": variants}
    found = read(page(group)).product
    assert (found["price"], found["sku"]) == (Decimal(2), "G")


def test_variant_of_this_page_is_the_subject_and_falls_back_on_its_group():
    red = product("Oak chair, red", sku="R", url=URL, offers=offer("1"))
    blue = product("Oak chair, blue", sku="B", url="/p/blue", offers=offer("2"))
    group = {"@type": "ProductGroup", "name": "Oak chair", "brand": "Seine", "hasVariant": [blue, red]}
    found = read(page(group, h1="Oak chair, red")).product
    assert [found[name] for name in ("name", "sku", "brand", "price")] == ["Oak chair, red", "R", "Seine", Decimal(1)]


@pytest.mark.parametrize(
    ("stated", "field", "expected"),
    [
        ("sku:123", "sku", "123"),
        ("123", "sku", "123"),
        ("isbn:0-306-40615-2", "gtin", "9780306406157"),
        ("mpn:X1", "mpn", "X1"),
    ],
)
def test_product_id_names_its_scheme(stated, field, expected):
    assert read(page(product(productID=stated))).product[field] == expected


def test_product_that_the_heading_names_is_the_subject():
    names = ["Pine table", "Oak chair", "Oak chair cushion, set of four"]
    assert read(page(*map(product, names))).product["name"] == "Oak chair"


def test_product_whose_address_is_the_page_is_the_subject_whatever_its_name():
    html = page(product("Stuhl Eiche", offers=offer(url=URL)), h1="Sale of the week")
    assert read(html).product["name"] == "Stuhl Eiche"


@pytest.mark.parametrize(
    "html",
    [
        page(h1="Chairs"),
        page(*(product(f"{kind} chair model {kind}") for kind in ("Oak", "Pine", "Ash")), h1="Chairs"),
        page({"@type": "ItemList", "itemListElement": [product("Oak chair with arms")]}, h1="All our furniture"),
        page(product("Pine table"), h1="How to choose a sofa", head="<title>Sofas explained</title>"),
        page(FULL | {"@type": "Article"}),
        "",
        "<p>",
    ],
)
def test_page_that_is_about_no_product_gives_none(html):
    extraction = read(html or "<html></html>", url="https://shop.test/c/1")
    assert extraction.product is None
    assert extraction.sources == {}


@pytest.mark.parametrize("href", ["", "javascript:x", "mailto:a@b.test", "http://["])
def test_unusable_canonical_address_is_ignored(href):
    assert read(
        f"<link rel=canonical href='{href}'><meta property=og:url content='https://shop.test/1'>"
    ).canonical_url == ("https://shop.test/1")


def test_base_address_resolves_relative_ones():
    html = page(product(image="1.jpg"), head="<base href='https://cdn.test/img/'>")
    assert read(html).product["images"] == ["https://cdn.test/img/1.jpg"]


def test_bad_values_are_dropped_one_by_one():
    bad = product(
        sku={"no": 1},
        gtin13="4006381333932",
        brand=[],
        image=[1, None, "data:x"],
        aggregateRating={"ratingValue": 7, "bestRating": 5, "reviewCount": -1},
        offers=[{"price": -1, "priceCurrency": "XXX", "availability": 3}, "offer", 7],
        description=["Solid oak."],
    )
    assert read(page(bad)).product == {"name": "Oak chair", "description": "Solid oak.", "language": "en"}

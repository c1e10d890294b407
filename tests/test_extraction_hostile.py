"""Hostile pages: whatever they hold, extraction ends soon and never raises."""

from __future__ import annotations

import itertools
import json
import time

import pytest
from lxml import etree
from parsel import Selector

from crawlers.extraction import extract

DEEP = 10_000
MARKED = (
    '<div itemscope itemprop="offers name" itemtype="http://schema.org/Product" '
    'typeof="schema:Product" property="schema:name">'
)


def block(text: str) -> str:
    return f'<h1>Chair</h1><script type="application/ld+json">{text}</script>'


def nested(opening: str, closing: str) -> str:
    return opening * DEEP + "1" + closing * DEEP


def linked_offers() -> str:
    """Every offer refers to every other."""
    identifiers = [{"@id": f"#{number}"} for number in range(300)]
    offers = [{"@type": "AggregateOffer", **own, "offers": identifiers} for own in identifiers]
    return json.dumps({"@graph": [{"@type": "Product", "name": "Chair", "offers": identifiers}, *offers]})


HOSTILE = {
    "deep elements": "<div>" * DEEP,
    "deep items": MARKED * DEEP + "Chair",
    "deep objects": block(nested('{"@type":"Product","offers":', "}")),
    "deep lists": block(nested("[", "]")),
    "deep and open": block('{"offers":[' * DEEP),
    "giant string": block('{"@type":"Product","name":"' + "Chair &amp; " * 500_000 + '"}'),
    "giant number": block('{"@type":"Product","name":"Chair","offers":{"price":' + "9" * 100_000 + "}}"),
    "giant price": "<meta property=product:price:amount content='" + "1 " * 500_000 + "'>",
    "giant heading": f"<h1>{'a ' * 500_000}</h1><meta property=og:type content=product>",
    "angle brackets": block('{"@type":"Product","name":"Chair","description":"' + "<a" * 500_000 + '"}'),
    "offers in a ring": block(linked_offers()),
    "self reference": block(
        '{"@id":"#p","@type":"Product","name":{"@id":"#p"},"offers":{"@id":"#p"},"brand":{"@id":"#p"}}'
    ),
    "ring of items": '<div itemscope itemtype="http://schema.org/Product" itemprop=offers id=a itemref="a b"></div>'
    '<div itemscope itemprop=offers id=b itemref="a b">x</div>',
    "many references": "<p id=a itemprop=name>Chair</p>" + '<div itemscope itemref="a a a a">' * 3_000,
    "many products": block(json.dumps([{"@type": "Product", "name": f"Chair {number}"} for number in range(30_000)])),
    "many cards": '<div itemscope itemtype="http://schema.org/Product"><b itemprop=name>Chair</b></div>' * 10_000,
    "lone surrogate": block('{"@type":"Product","name":"\\ud800 chair","sku":"\\udfff"}'),
    "nul bytes": block('{"@type":"Product","name":"\\u0000"}'),
    "entity bomb": "<!DOCTYPE lolz ["
    + "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    + ']><h1 itemscope itemtype="http://schema.org/Product"><b itemprop=name>&l11;</b>',
    "many entities": f"<meta property=og:type content=product><h1>{'&amp;' * 500_000}</h1>",
    "giant attribute": '<div itemscope itemtype="http://schema.org/Product"><b itemprop=name content="'
    + "x" * 5_000_000,
    "giant class": f'<h1 class="{"a " * 1_000_000}">Chair</h1><meta property=og:type content=product>',
    "many kinds": f'<div itemscope itemtype="{"http://schema.org/Product " * 50_000}"><b itemprop=name>Chair</b>',
    "comments": "<!-- a --><?php x ?><html><!-- b --></html>",
    "odd attributes": "<html lang><base href='http://['><link rel><meta property content><script type>x</script>",
    "odd tags": "<a:b itemscope itemprop='' typeof='' vocab='' prefix='a' itemref=''><meta itemprop><time itemprop=x>",
    "odd addresses": f"<link rel=canonical href='http://{'x' * 3_000}'><meta property=og:image content='http://[::1'>"
    "<meta property=og:type content=product>",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_page_ends_soon(name):
    root = Selector(text=HOSTILE[name], type="html").root
    start = time.perf_counter()
    extract(root, "https://shop.test/p/1")
    assert time.perf_counter() - start < 2


VALUES = [
    None,
    True,
    0,
    -1,
    1e308,
    "",
    " ",
    "x",
    [],
    {},
    [[[]]],
    [None],
    {"@id": "#p"},
    {"@value": []},
    {"@type": 7},
    {"": ""},
]
_FIELDS = """@context @graph @id @type name sku productID gtin13 brand description image offers aggregateRating url
hasVariant mainEntityOfPage breadcrumb"""
_NESTED = "price priceCurrency availability itemCondition priceSpecification offers ratingValue bestRating url name"
FIELDS, NESTED = _FIELDS.split(), _NESTED.split()


@pytest.mark.parametrize("field", FIELDS)
def test_any_type_in_any_field_is_survived(field):
    for value, name in itertools.product(VALUES, ("@id", *NESTED)):
        for odd in (value, {name: value}, [{name: value}]):
            data = {"@type": "Product", "@id": "#p", "name": "Chair", field: odd}
            root = Selector(text=block(json.dumps(data)), type="html").root
            extract(root, "https://shop.test/p/1")


@pytest.mark.parametrize("url", ["", "not a url", "http://[", "https://shop.test"])
def test_any_page_address_is_survived(url):
    root = Selector(text=HOSTILE["odd addresses"], type="html").root
    extract(root, url)


def test_tree_is_left_as_it_was():
    root = Selector(text=HOSTILE["ring of items"] + HOSTILE["self reference"], type="html").root
    before = etree.tostring(root)
    extract(root, "https://shop.test/p/1")
    assert etree.tostring(root) == before

"""extruct reads the same pages independently: where it finds a plain value, so must we."""

from __future__ import annotations

from decimal import Decimal

import extruct
import pytest
from parsel import Selector

from crawlers.extraction import extract

URL = "https://shop.test/p/1"
JSON_LD = """<h1>Oak chair</h1><script type="application/ld+json">{"@context": "https://schema.org", "@type": "Product",
"name": "Oak chair", "sku": "OC-1", "brand": "Seine", "offers": {"@type": "Offer", "price": "49.90"}}</script>"""
MICRODATA = """<div itemscope itemtype="https://schema.org/Product"><h1 itemprop="name">Oak chair</h1>
<meta itemprop="sku" content="OC-1"><span itemprop="brand">Seine</span>
<div itemprop="offers" itemscope itemtype="https://schema.org/Offer">
<span itemprop="price" content="49.90">€</span></div>
</div>"""


@pytest.mark.parametrize(("syntax", "html"), [("json-ld", JSON_LD), ("microdata", MICRODATA)])
def test_extruct_agrees(syntax, html):
    [theirs] = extruct.extract(html, base_url=URL, syntaxes=[syntax], uniform=True)[syntax]
    ours = extract(Selector(text=html, type="html").root, URL).product
    assert {name: ours[name] for name in ("name", "sku", "brand")} == {
        name: theirs[name] for name in ("name", "sku", "brand")
    }
    assert ours["price"] == Decimal(theirs["offers"]["price"])

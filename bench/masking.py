"""What masking finds on recorded pages, and what it costs: `python -m bench.masking FOLDER`.

FOLDER is a recording as bench/replay.py describes it. Every pattern is on, also for identifiers. Costs are CPU time of
this process.
"""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path
from time import process_time
from typing import Any

from lxml import html

from crawlers.extraction import extract
from crawlers.items import Product
from crawlers.masking.keys import MaskingKeys
from crawlers.masking.masker import Masker
from crawlers.masking.patterns import FINDERS
from crawlers.masking.rules import FieldRules, MaskingRules, PatternRules

_ROUNDS = 20
_IDENTIFIERS = ("sku", "mpn", "gtin")
_TEXTS = ("name", "brand", "description", "breadcrumbs", "url", "canonical_url", "images")
_ALL = PatternRules(email="mask", phone="mask", iban="mask", card="mask")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.masking", description=__doc__)
    parser.add_argument("folder", type=Path, help="holds html/ID.html.gz and ground-truth.json")
    folder = parser.parse_args(argv).folder
    truth = json.loads((folder / "ground-truth.json").read_text("utf-8"))
    pages = {id_: gzip.decompress((folder / "html" / f"{id_}.html.gz").read_bytes()) for id_ in truth}
    rules = MaskingRules(_ALL, FieldRules(sku="patterns", mpn="patterns", gtin="patterns"))
    masker = Masker(rules, MaskingKeys())
    _tell_pages(masker, pages)
    _tell_identifiers(masker, truth)
    _tell_products(masker, [_product(body, truth[id_]["url"]) for id_, body in pages.items()])


def _tell_pages(masker: Masker, pages: dict[str, bytes]) -> None:
    """Of the pages as they were fetched."""
    size = sum(map(len, pages.values()))
    texts = [_text(body) for body in pages.values()]
    finds = {name: {one.normal for text in texts for one in find(text, None)} for name, find in FINDERS.items()}
    started = process_time()
    for body in pages.values():
        masker.content(body, "text/html; charset=utf-8")
    cpu = process_time() - started
    cost = f"{1000 * cpu / len(pages):.1f} ms each, {1e9 * cpu / size:.0f} ms/MB"
    print(f"pages      {len(pages)}, {size / 1e6:.1f} MB: {cost}")
    for name, values in finds.items():
        print(f"  {name:<8} {len(values)}: {', '.join(sorted(values))}")


def _tell_identifiers(masker: Masker, truth: dict[str, Any]) -> None:
    """Of the true identifiers and prices: none of them is anybody's."""
    values = [
        value for entry in truth.values() for name in ("sku", "gtin", "mpn", "price") for value in entry.get(name, [])
    ]
    wrong = [value for value in values if masker.text(value) != value]
    print(f"numbers    {len(values)} true identifiers and prices: {len(wrong)} masked {wrong or ''}")


def _tell_products(masker: Masker, products: list[Product]) -> None:
    """Of what is extracted from the pages."""
    before = [{name: getattr(one, name) for name in (*_TEXTS, *_IDENTIFIERS)} for one in products]
    started = process_time()
    for _ in range(_ROUNDS):
        for one, values in zip(products, before, strict=True):
            for name, value in values.items():
                setattr(one, name, value)
            masker.item(one)
    cpu = process_time() - started
    print(f"products   {len(products)}: {1e6 * cpu / _ROUNDS / len(products):.0f} µs each")
    for one, values in zip(products, before, strict=True):
        for name, value in values.items():
            if getattr(one, name) != value:
                print(f"  {name} of {one.url}: {getattr(one, name)!r}")


def _product(body: bytes, url: str) -> Product:
    fields = extract(html.document_fromstring(_text(body)), url, locale=None, currency=None).product or {"name": ""}
    return Product(**{"url": url, "canonical_url": url, "identity": url, **fields})


def _text(body: bytes) -> str:
    return body.decode("utf-8", "surrogateescape")


if __name__ == "__main__":
    main()

"""Every rule of the item's contract names the field and its value; what breaks one lands in the dead-letter topic."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from crawlers.exceptions import InvalidItem
from deploy.demo_shop import DemoShop
from pipelines.validation import ValidationPipeline
from tests.products import product
from tests.support import Seine, consume


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": ""}, "name: expected text of 1 to 2000 characters, got ''"),
        ({"name": 7}, "name: expected text of 1 to 2000 characters, got 7"),
        ({"name": "\ud800"}, "name: expected text of 1 to 2000 characters, got '\\ud800'"),
        ({"identity": ""}, "identity: expected text of 1 to 8192 characters, got ''"),
        ({"identity": "中" * 5101}, "identity: expected at most 15300 bytes of UTF-8, got '中"),
        ({"url": "/p/1"}, "url: expected an absolute http or https URL, got '/p/1'"),
        ({"price": 19.9}, "price: expected a decimal of at least 0 and below 10^14, got 19.9"),
        ({"price": Decimal("-1")}, "price: expected a decimal of at least 0 and below 10^14, got Decimal('-1')"),
        ({"price": Decimal("NaN")}, "price: expected a decimal of at least 0 and below 10^14, got Decimal('NaN')"),
        ({"price": Decimal("0.00001")}, "price: expected a decimal of at most 4 places, got Decimal('0.00001')"),
        ({"currency": None}, "currency: expected one with price Decimal('19.90'), got None"),
        ({"currency": "EURO"}, "currency: expected an ISO 4217 code, got 'EURO'"),
        ({"availability": "instock"}, "availability: expected a schema.org ItemAvailability, got 'instock'"),
        ({"condition": "new"}, "condition: expected a schema.org OfferItemCondition, got 'new'"),
        (
            {"gtin": "4006381333932"},
            "gtin: expected 8, 12, 13 or 14 digits with a right check digit, got '4006381333932'",
        ),
        ({"images": "a.png"}, "images: expected a list of absolute http or https URLs, got 'a.png'"),
        ({"images": ["a.png"]}, "images: expected a list of absolute http or https URLs, got ['a.png']"),
        ({"rating": 5.5}, "rating: expected a number from 0 to 5, got 5.5"),
        ({"rating": True}, "rating: expected a number from 0 to 5, got True"),
        ({"review_count": -1}, "review_count: expected a whole number from 0, got -1"),
        ({"change": "newer"}, "change: expected new, changed, unchanged or gone, got 'newer'"),
        ({"changed_fields": ["price", ""]}, "changed_fields: expected a list of field names, got ['price', '']"),
        ({"fetched_at": datetime(2026, 1, 2)}, "fetched_at: expected a time with its zone"),
    ],
)
def test_a_broken_rule_names_field_and_value(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidItem) as raised:
        ValidationPipeline().process_item(product(**changes))
    [only] = raised.value.messages
    assert only.startswith(message)


def test_every_broken_rule_is_told_at_once_and_long_values_are_cut() -> None:
    with pytest.raises(InvalidItem) as raised:
        ValidationPipeline().process_item(product(name="x" * 5000, rating=9))
    name, rating = raised.value.messages
    assert name.endswith("… (5002 characters)")
    assert rating.startswith("rating:")


def test_what_is_no_product_is_refused() -> None:
    with pytest.raises(InvalidItem, match="expected a Product, got dict"):
        ValidationPipeline().process_item({"name": "Lamp"})


def test_a_good_product_passes_unchanged() -> None:
    item = product(price=Decimal("19.9000"), gtin="4006381333931", rating=4, review_count=0)
    assert ValidationPipeline().process_item(item) is item


def test_an_invalid_item_lands_in_the_dead_letter_topic_with_its_reason(
    seine: Seine, sites: Path, shop: DemoShop
) -> None:
    """Keyed by gtin, the products that state none have no identity."""
    rows = [row for row in shop.truth() if row["reachable"] and row["markup"] == "microdata"]
    without = next(row for row in rows if not row.get("gtin"))
    with_gtin = next(row for row in rows if row.get("gtin"))
    text = shop.site_toml().replace('identity = "sku"', 'identity = "gtin"')
    (sites / "demo.toml").write_text(text)

    finished = seine.crawl("-a", f"urls={without['url']},{with_gtin['url']}")

    assert finished.code == 0, finished.err[-2000:]
    [letter] = consume(seine.env, seine.env["KAFKA_TOPIC_DEAD_LETTERS"], avro=False)
    assert letter.value["sku"] == without["sku"]
    assert letter.headers["stage"] == "validation"
    assert letter.headers["url"] == without["url"]
    assert letter.headers["schema_subject"] == f"{seine.env['KAFKA_TOPIC_PRODUCTS']}-value"
    assert letter.headers["__connect.errors.exception.class.name"] == "InvalidItem"
    assert "identity" in letter.headers["__connect.errors.exception.message"]
    [record] = consume(seine.env, seine.env["KAFKA_TOPIC_PRODUCTS"])
    assert record.key == f"demo/{with_gtin['gtin']}"
    [event] = finished.events("item", fate="dead", reason="validation")
    assert event["url"] == without["url"]
    [request] = finished.events("request", outcome="dead")
    assert request["reason"] == "item"
    shown = seine.run("records", "tail", "--topic", seine.env["KAFKA_TOPIC_DEAD_LETTERS"])
    assert "validation" in shown.out

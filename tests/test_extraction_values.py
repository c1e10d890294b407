"""Single values: prices, currencies, GTINs, availability and the rest, as shops write them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from crawlers.extraction.currencies import CURRENCIES, parse_currency
from crawlers.extraction.gtin import parse_gtin
from crawlers.extraction.prices import parse_price
from crawlers.extraction.thing import VisibleText, local_name
from crawlers.extraction.values import (
    parse_availability,
    parse_condition,
    parse_count,
    parse_identifier,
    parse_language,
    parse_prose,
    parse_text,
    parse_url,
)


@pytest.mark.parametrize(
    ("value", "locale", "currency", "expected"),
    [
        (19.99, "de", "EUR", "19.99"),
        (1299, None, None, "1299"),
        ("19.990", "de", "EUR", "19.990"),
        ("19.9900", "de", "EUR", "19.9900"),
        ("1.299", "de", "EUR", "1299"),
        ("1.299", "en", "USD", "1.299"),
        ("1.299", "ar", "KWD", "1.299"),
        ("19.990", "es-CL", "CLP", "19990"),
        ("1.299,00", "de", "EUR", "1299.00"),
        ("1,299.00", "de", "EUR", "1299.00"),
        ("12,50 €", None, None, "12.50"),
        ("$1,299", "en-US", "USD", "1299"),
        (VisibleText("1.299"), "de", "EUR", "1299"),
        (VisibleText("1.299"), "de-CH", "CHF", "1.299"),
        (VisibleText("1 299,50 Kč"), "cs", "CZK", "1299.50"),
        (VisibleText("ab 7,95 EUR"), "de", "EUR", "7.95"),
    ],
)
def test_price_is_read_by_the_rules_for_its_kind(value, locale, currency, expected):
    assert parse_price(value, locale=locale, currency=currency).value == Decimal(expected)


@pytest.mark.parametrize(
    "value",
    [0, "0.00", -5, "-5.00", "EUR -5", 1e30, "9" * 19, float("nan"), float("inf"), True, None, [], {}, "", "call"],
)
def test_what_is_no_price_is_dropped(value):
    assert parse_price(value) is None


@pytest.mark.parametrize(
    ("sign", "hints", "expected"),
    [
        ("eur", {}, "EUR"),
        ("€", {}, "EUR"),
        ("zł", {}, "PLN"),
        ("US$", {"country": "ca"}, "USD"),
        ("$", {}, "USD"),
        ("$", {"country": "ca"}, "CAD"),
        ("$", {"locale": "es-MX"}, "MXN"),
        ("$", {"locale": "en", "fallback": "AUD"}, "AUD"),
        ("$", {"locale": "es"}, None),
        ("kr", {"locale": "da"}, "DKK"),
        ("¥", {"locale": "zh-CN"}, "CNY"),
        ("£", {"locale": "de"}, "GBP"),
        ("XYZ", {}, None),
        ("", {}, None),
        (978, {}, None),
    ],
)
def test_currency_sign_is_told_by_what_is_known_of_the_shop(sign, hints, expected):
    assert parse_currency(sign, **hints) == expected


def test_currency_codes_are_three_capitals():
    assert all(len(code) == 3 and code.isupper() for code in CURRENCIES)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("4006381333931", "4006381333931"),
        (4006381333931, "4006381333931"),
        ("400-6381-33393-1", "4006381333931"),
        ("ean: 4006381333931", "4006381333931"),
        ("96385074", "96385074"),
        ("036000291452", "036000291452"),
        ("00036000291452", "00036000291452"),
        ("ISBN 0-306-40615-2", "9780306406157"),
        ("043942089X", "9780439420891"),
        ("4006381333932", None),
        ("0306406153", None),
        ("0000000000000", None),
        ("12345", None),
        ("٤٠٠٦٣٨١٣٣٣٩٣١", None),
        (True, None),
        (4006381333931.0, None),
        ([], None),
    ],
)
def test_gtin_needs_a_right_check_digit(value, expected):
    assert parse_gtin(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("http://schema.org/instock", "InStock"),
        ("https://schema.org/OutOfStock", "OutOfStock"),
        ("schema:PreOrder", "PreOrder"),
        ("in stock", "InStock"),
        ("In_Stock", "InStock"),
        ("available", "InStock"),
        ("oos", "OutOfStock"),
        ("SOLD OUT", "SoldOut"),
        ("available for order", "BackOrder"),
        ("LimitedAvailability/", "LimitedAvailability"),
        ("soon", None),
        ("", None),
        (7, None),
    ],
)
def test_availability_is_a_term_of_schema_org(value, expected):
    assert parse_availability(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [("https://schema.org/NewCondition", "NewCondition"), ("used", "UsedCondition"), ("fine", None)],
)
def test_condition_is_a_term_of_schema_org(value, expected):
    assert parse_condition(value) == expected


def test_text_is_unescaped_and_folded():
    assert parse_text("  Salt &amp; \n pepper\x00 ") == "Salt & pepper"
    assert parse_text(12.0) == "12"
    assert parse_text(True) is None


def test_prose_loses_its_tags_but_keeps_comparisons():
    assert parse_prose("&lt;p&gt;Oak &amp;amp; steel&lt;/p&gt;<br>5 < 6") == "Oak & steel 5 < 6"


def test_identifier_is_one_line_and_no_placeholder():
    assert parse_identifier(VisibleText("\n  AB-1\n  Chairs ")) == "AB-1"
    assert parse_identifier("null") is None
    assert parse_identifier("x" * 101) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("/a b.jpg", "https://shop.test/a%20b.jpg"),
        ("//cdn.test/a.jpg", "https://cdn.test/a.jpg"),
        ("http://cdn.test/a?b=1&amp;c=2", "http://cdn.test/a?b=1&c=2"),
        ("data:image/png;base64,AAAA", None),
        ("javascript:void(0)", None),
        ("http://[broken", None),
        ("https://", None),
        ("x" * 5_000, None),
        (None, None),
    ],
)
def test_address_is_absolute_http(value, expected):
    assert parse_url(value, "https://shop.test/p/1") == expected


def test_language_is_a_bcp_47_tag():
    assert [parse_language(tag) for tag in ("en_us", "DE", "zh-hant-tw", "not a tag", None)] == [
        "en-US",
        "de",
        "zh-Hant-TW",
        None,
        None,
    ]


def test_count_is_the_first_whole_number():
    assert [parse_count(text) for text in ("1,234 reviews", "17", 3.0, "none", -1)] == [1234, 17, 3, None, None]


@pytest.mark.parametrize(
    "term", ["Product", "schema:product", "http://schema.org/Product", "https://schema.org#Product/"]
)
def test_term_is_known_in_any_spelling(term):
    assert local_name(term) == "product"

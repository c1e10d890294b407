"""Refuses items that break the contract of their fields."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Self

from crawlers import metrics
from crawlers.domains import is_web_url
from crawlers.exceptions import InvalidItem
from crawlers.extraction.currencies import CURRENCIES
from crawlers.extraction.gtin import parse_gtin
from crawlers.items import (
    AVAILABILITIES,
    CHANGES,
    CONDITIONS,
    CONTENT_ENCODINGS,
    LONGEST_CONTENT_TYPE,
    LONGEST_IDENTITY,
    ClaimCheck,
    Product,
)
from crawlers.masking.masking import Masking

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

_LONGEST_SHOWN = 60
_PRICE_LIMIT = Decimal(10) ** 14
_INT_LIMIT = 2**31

Rule = Callable[[Any], str | None]
"""What is expected, where the value is not that; None where it is."""


class ValidationPipeline:
    """Raises InvalidItem with one message per broken rule, each naming the field and its value, where none masks it."""

    def __init__(self, masking: Masking | None = None):
        self._masking = masking

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        return cls(Masking.of(crawler))

    def process_item(self, item: Any) -> Any:
        if not isinstance(item, Product):
            raise InvalidItem([f"item: expected a Product, got {type(item).__name__}"])
        rules = _RULES_OF_GONE if item.change == "gone" else _RULES
        messages = {
            name: f"{name}: expected {expected}, got {self._shown(item, name, value)}"
            for name, rule in rules
            if (expected := rule(value := getattr(item, name))) is not None
        }
        if item.price is not None and item.currency is None:
            messages["currency"] = f"currency: expected one with price {_shown(item.price)}, got None"
        if messages:
            for name in messages:
                metrics.INVALID_FIELDS.labels(name).inc()
            raise InvalidItem([*messages.values()])
        return item

    def _shown(self, item: Product, name: str, value: Any) -> str:
        """A value as errors show it, which go to logs and dead letters; masked before it is cut."""
        masker = self._masking.of_site(str(item.site)) if self._masking is not None else None
        if masker is None:
            return _shown(value)
        return "what masking hides" if masker.hides(name) else _cut(masker.text(repr(value)))


def _shown(value: Any) -> str:
    return _cut(repr(value))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}… ({len(text)} characters)"


def _text(longest: int, *, empty: bool = False) -> Rule:
    expected = f"text of {0 if empty else 1} to {longest} characters"

    def rule(value: Any) -> str | None:
        fits = isinstance(value, str) and len(value) <= longest and (empty or value.strip())
        return None if fits and _is_unicode(value) else expected

    return rule


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _optional(rule: Rule) -> Rule:
    return lambda value: None if value is None else rule(value)


def _one_of(terms: frozenset[str], what: str) -> Rule:
    return lambda value: None if isinstance(value, str) and value in terms else what


def _list_of(rule: Rule, what: str) -> Rule:
    return lambda value: None if isinstance(value, list) and all(rule(one) is None for one in value) else what


def _url(value: Any) -> str | None:
    fits = isinstance(value, str) and len(value) <= 8192 and is_web_url(value) and _is_unicode(value)
    return None if fits else "an absolute http or https URL"


def _price(value: Any) -> str | None:
    if not isinstance(value, Decimal) or not value.is_finite() or not 0 <= value < _PRICE_LIMIT:
        return "a decimal of at least 0 and below 10^14"
    exponent = value.normalize().as_tuple().exponent
    return None if isinstance(exponent, int) and exponent >= -4 else "a decimal of at most 4 places"


def _gtin(value: Any) -> str | None:
    fits = isinstance(value, str) and parse_gtin(value) == value
    return None if fits else "8, 12, 13 or 14 digits with a right check digit"


def _rating(value: Any) -> str | None:
    fits = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 5
    return None if fits else "a number from 0 to 5"


def _count(value: Any) -> str | None:
    fits = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _INT_LIMIT
    return None if fits else "a whole number from 0"


def _content(value: Any) -> str | None:
    return None if isinstance(value, (bytes, ClaimCheck)) else "bytes, or a ClaimCheck"


def _time(value: Any) -> str | None:
    return None if isinstance(value, datetime) and value.tzinfo is not None else "a time with its zone"


def _identity(value: Any) -> str | None:
    """What EMIT=changes can remember; Kafka would take more."""
    expected = _text(8192)(value)
    return expected or (
        None if len(value.encode()) <= LONGEST_IDENTITY else f"at most {LONGEST_IDENTITY} bytes of UTF-8"
    )


_RULES: list[tuple[str, Rule]] = [
    ("url", _url),
    ("canonical_url", _url),
    ("name", _text(2000)),
    ("sku", _optional(_text(200))),
    ("mpn", _optional(_text(200))),
    ("gtin", _optional(_gtin)),
    ("brand", _optional(_text(500))),
    ("price", _optional(_price)),
    ("currency", _optional(_one_of(CURRENCIES, "an ISO 4217 code"))),
    ("availability", _optional(_one_of(AVAILABILITIES, "a schema.org ItemAvailability"))),
    ("condition", _optional(_one_of(CONDITIONS, "a schema.org OfferItemCondition"))),
    ("description", _optional(_text(200_000, empty=True))),
    ("images", _list_of(_url, "a list of absolute http or https URLs")),
    ("breadcrumbs", _list_of(_text(2000), "a list of names")),
    ("rating", _optional(_rating)),
    ("review_count", _optional(_count)),
    ("language", _optional(_text(100))),
    ("site", _text(300)),
    ("identity", _identity),
    ("fetched_at", _time),
    ("crawl_id", _text(300)),
    ("record_id", _text(64)),
    ("spider", _text(300)),
    ("worker", _text(300)),
    ("http_status", _count),
    ("content_hash", _text(64)),
    ("rendered_by", _optional(_text(100))),
    ("proxy", _optional(_text(300))),
    ("extractor_version", _text(100)),
    ("change", _optional(_one_of(CHANGES, "new, changed, unchanged or gone"))),
    ("changed_fields", _list_of(_text(100), "a list of field names")),
    ("content", _optional(_content)),
    ("content_type", _optional(_text(LONGEST_CONTENT_TYPE))),
    ("content_encoding", _optional(_one_of(CONTENT_ENCODINGS, "zstd or gzip"))),
    ("screenshot", _optional(_content)),
]

_RULES_OF_GONE = [(name, rule) for name, rule in _RULES if name not in ("url", "canonical_url", "name", "content_hash")]
"""Nobody has seen a product that is gone: its site and its identity say which one it was."""

"""Single values as pages write them, made into the values of an item; what cannot be right becomes None."""

from __future__ import annotations

import re
from html import unescape
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

from crawlers.extraction.thing import VisibleText
from crawlers.items import AVAILABILITIES, CONDITIONS

MAX_URL = 2_048
_MAX_INPUT = 100_000
_TAG = re.compile(r"</?[a-zA-Z!][^<>]*>")
_WORDS = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")
_NOT_LETTERS = re.compile(r"[^a-z]+")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8}){0,3}")
_NUMBER = re.compile(r"\d{1,12}(?:\.\d{1,12})?", re.ASCII)
_COUNT = re.compile(r"\d{1,3}(?:[.,\s]\d{3})+|\d{1,12}", re.ASCII)

_AVAILABILITY = {term.lower(): term for term in AVAILABILITIES} | {
    "available": "InStock", "availableforsale": "InStock", "instocknow": "InStock", "yes": "InStock", "true": "InStock",
    "availablefororder": "BackOrder", "onbackorder": "BackOrder", "backordered": "BackOrder",
    "oos": "OutOfStock", "outofstock": "OutOfStock", "notavailable": "OutOfStock", "unavailable": "OutOfStock",
    "notinstock": "OutOfStock", "no": "OutOfStock", "false": "OutOfStock", "preorders": "PreOrder",
    "availableforpreorder": "PreOrder", "limitedstock": "LimitedAvailability", "lowstock": "LimitedAvailability",
    "limited": "LimitedAvailability", "onlineavailable": "OnlineOnly", "instoreavailable": "InStoreOnly",
}  # fmt: skip
_CONDITION = {term.lower(): term for term in CONDITIONS} | {
    "new": "NewCondition", "used": "UsedCondition", "preowned": "UsedCondition", "secondhand": "UsedCondition",
    "refurbished": "RefurbishedCondition", "damaged": "DamagedCondition",
}  # fmt: skip


def parse_text(value: Any, *, limit: int = 1_000) -> str | None:
    """`value` with entities unescaped and whitespace folded, cut at `limit`; numbers as their digits."""
    if isinstance(value, str):
        text = value[:_MAX_INPUT]
        if "&" in text:
            text = unescape(text)
        return " ".join(text.replace("\x00", " ").split())[:limit].strip() or None
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 10**18:
        return str(int(value)) if value == int(value) else str(value)
    return None


def parse_prose(value: Any, *, limit: int = 20_000) -> str | None:
    """Text that may hold HTML, escaped or not: its tags are stripped."""
    if not isinstance(value, str):
        return None
    text = value[:_MAX_INPUT]
    if "&" in text:
        text = unescape(text)
    return parse_text(_TAG.sub(" ", text) if "<" in text else text, limit=limit)


def parse_identifier(value: Any) -> str | None:
    """A SKU or MPN of at most 100 characters, not a placeholder; of several visible lines the first."""
    if isinstance(value, VisibleText):
        value = next((line for line in value[:_MAX_INPUT].splitlines() if line.strip()), None)
    text = parse_text(value, limit=101)
    return None if text is None or len(text) > 100 or text.lower() in _PLACEHOLDERS else text


_PLACEHOLDERS = frozenset({"-", "null", "none", "undefined", "n/a", "na", "false", "true", "[object object]"})


def parse_availability(value: Any) -> str | None:
    """schema.org's ItemAvailability term without prefix, from any spelling: 'in stock', 'http://schema.org/instock'."""
    return _term(value, _AVAILABILITY)


def parse_condition(value: Any) -> str | None:
    """schema.org's OfferItemCondition term without prefix, from any spelling."""
    return _term(value, _CONDITION)


def _term(value: Any, terms: dict[str, str]) -> str | None:
    if isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or len(value) > 200:
        return None
    last = value.strip().rstrip("/#").replace("#", "/").rpartition("/")[2].rpartition(":")[2]
    return terms.get(_NOT_LETTERS.sub("", last.lower()))


def parse_url(value: Any, base: str) -> str | None:
    """The absolute http(s) address that `value` refers to from `base`; None for any other scheme."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_URL:
        return None
    text = value.strip()
    if "&amp;" in text:
        text = text.replace("&amp;", "&")
    if not text or any(char in text for char in '<>"{}|\\^`\n\r\t'):
        return None
    try:
        address = text if text.startswith(("https://", "http://")) else urljoin(base, text)
        parts = urlsplit(address)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return None
    return address.replace(" ", "%20") if valid else None


def split_url(url: str) -> SplitResult:
    """The parts of an address; empty ones where it cannot be split."""
    try:
        return urlsplit(url)
    except ValueError:
        return SplitResult("", "", "", "", "")


def parse_language(value: Any) -> str | None:
    """A BCP 47 tag: 'en_us' and 'EN-us' are 'en-US'."""
    if not isinstance(value, str) or len(value) > 40:
        return None
    tag = value.split(",")[0].strip().replace("_", "-")
    if not _LANGUAGE.fullmatch(tag):
        return None
    primary, *rest = tag.split("-")
    return "-".join([primary.lower(), *(_subtag(part) for part in rest)])


def _subtag(part: str) -> str:
    return part.upper() if len(part) == 2 else part.title() if len(part) == 4 else part.lower()


def parse_number(value: Any) -> float | None:
    """A plain non-negative number, with a decimal dot or comma."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value) if 0 <= value < 10**12 else None
    if not isinstance(value, str) or len(value) > 40:
        return None
    text = value.strip().replace(",", ".")
    return float(text) if _NUMBER.fullmatch(text) else None


def parse_count(value: Any) -> int | None:
    """A whole non-negative number: the first in the text, '1,234 reviews' is 1234."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return int(value) if 0 <= value < 10**12 and value == int(value) else None
    found = _COUNT.search(value) if isinstance(value, str) and len(value) < 100 else None
    return int(re.sub(r"\D", "", found[0])) if found else None


def words(text: str) -> frozenset[str]:
    """The words of a name, case folded, each CJK character being one: names are compared by them."""
    return frozenset(_WORDS.findall(text[:2_000].casefold()))

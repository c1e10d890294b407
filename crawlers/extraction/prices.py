"""Prices: the amount as a Decimal, by the rules below.

What structured data states is machine format: '19.990' and '1299.5' have a decimal dot whatever the page's language.
Evidence to the contrary wins: a comma, blanks, a currency sign; and for strings of the shape '1.299' (one dot, three
digits) a currency without minor units ('19.990' CLP is 19990), or a locale with a decimal comma where the last digit is
not a padding zero (money has no third decimal). JSON numbers are never taken as grouped.
Visible text follows the locale where it is ambiguous ('1.299' is 1299 in German), and price-parser's guess elsewhere.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from price_parser import Price

from crawlers.extraction.currencies import WITH_THREE_DECIMALS, WITHOUT_MINOR_UNIT
from crawlers.extraction.terms import term_set
from crawlers.extraction.thing import VisibleText

MAX_PRICE = 10**12
_MAX_TEXT = 200
_MACHINE = re.compile(r"\d{1,18}(?:\.\d{1,12})?", re.ASCII)
_GROUPED = re.compile(r"[1-9]\d{0,2}([.,])\d{3}")
_NEGATIVE = re.compile(r"\D{0,4}[-−]\s*\D{0,4}\d")
_DECIMAL_COMMA = term_set(
    """
    az be bg bs ca cs da de el es et eu fi fr gl hr hu hy id is it ka kk ky lt lv mk nb nl nn no pl pt ro ru
    sk sl sq sr sv tg tr uk uz vi
    """
)
_DECIMAL_DOT_REGIONS = term_set(
    """
    de-ch de-li it-ch es-mx es-us es-gt es-hn es-ni es-pa es-pe es-pr es-sv es-do es-cu
    """
)


class Amount(NamedTuple):
    """A price and the currency sign written beside it, as in its text."""

    value: Decimal
    sign: str | None


def decimal_separator(locale: str | None) -> str | None:
    """What a BCP 47 locale puts before the decimals, '.' or ','; None where there is no locale."""
    if not locale:
        return None
    folded = locale.replace("_", "-").lower()
    if folded in _DECIMAL_DOT_REGIONS:
        return "."
    return "," if folded.partition("-")[0] in _DECIMAL_COMMA else "."


def parse_price(value: Any, *, locale: str | None = None, currency: str | None = None) -> Amount | None:
    """The price that `value` states; None where it states none, or one that is zero, negative or absurd.

    Zero is dropped because shops write it where they show no price.
    """
    if isinstance(value, str):
        amount = _from_text(value, decimal_separator(locale), currency)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        amount = Amount(Decimal(str(value)), None) if abs(value) < MAX_PRICE else None
    else:
        return None
    return amount if amount and amount.value.is_finite() and 0 < amount.value < MAX_PRICE else None


def _from_text(text: str, separator: str | None, currency: str | None) -> Amount | None:
    if len(text) > _MAX_TEXT:
        return None
    text = text.strip()
    if not isinstance(text, VisibleText) and _MACHINE.fullmatch(text) and not _is_grouped(text, separator, currency):
        return Amount(Decimal(text), None)
    if _NEGATIVE.match(text):
        return None
    return _from_human(text, separator, currency)


def _is_grouped(text: str, separator: str | None, currency: str | None) -> bool:
    if not _GROUPED.fullmatch(text) or currency in WITH_THREE_DECIMALS:
        return False
    return currency in WITHOUT_MINOR_UNIT or (separator == "," and text[-1] != "0")


def _from_human(text: str, separator: str | None, currency: str | None) -> Amount | None:
    price = Price.fromstring(text)
    if price.amount is None or price.amount_text is None:
        return None
    ambiguous = _GROUPED.fullmatch(price.amount_text)
    value = price.amount
    if ambiguous and ambiguous[1] == separator and currency not in WITHOUT_MINOR_UNIT:
        try:
            value = Decimal(price.amount_text.replace(",", "."))
        except InvalidOperation:
            return None
    return Amount(value, price.currency)

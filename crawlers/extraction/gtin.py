"""GTINs: digits with a check digit, or nothing."""

from __future__ import annotations

import re
from typing import Any

_SEPARATORS = re.compile(r"[\s\-‐-―.]+")
_PREFIX = re.compile(r"^(?:gtin|ean|upc|isbn)(?:-?1?[0-9])?\s*[:#]?\s+|^(?:gtin|ean|upc|isbn)(?:-?1?[0-9])?[:#]", re.I)
_LENGTHS = frozenset({8, 12, 13, 14})
_MAX_LENGTH = 40


def parse_gtin(value: Any) -> str | None:
    """The 8, 12, 13 or 14 digits of a GTIN, EAN, UPC or ISBN; None where the check digit is wrong.

    An ISBN-10 becomes its ISBN-13.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    text = str(value) if not isinstance(value, int) or abs(value) < 10**15 else ""
    if not text or len(text) > _MAX_LENGTH:
        return None
    digits = _SEPARATORS.sub("", _PREFIX.sub("", text.strip()))
    if len(digits) == 10:
        return _isbn13(digits)
    if len(digits) not in _LENGTHS or not (digits.isascii() and digits.isdigit()):
        return None
    return digits if _check_digit(digits[:-1]) == digits[-1] and digits.strip("0") else None


def _check_digit(body: str) -> str:
    total = sum(int(digit) * (3 if place % 2 == 0 else 1) for place, digit in enumerate(reversed(body)))
    return str(-total % 10)


def _isbn13(isbn10: str) -> str | None:
    body, check = isbn10[:9], isbn10[9].upper()
    if not (body.isascii() and body.isdigit()) or check not in "0123456789X":
        return None
    weighed = sum(int(digit) * weight for digit, weight in zip(body, range(10, 1, -1), strict=True))
    if (weighed + (10 if check == "X" else int(check))) % 11:
        return None
    return f"978{body}{_check_digit('978' + body)}"

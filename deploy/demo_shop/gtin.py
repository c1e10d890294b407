"""GTINs of the kind that GS1 reserves for demonstrations (prefix 952), with right check digits."""

from __future__ import annotations

DEMONSTRATION_PREFIX = "952"


def check_digit(body: str) -> str:
    """The digit that completes `body`: weights 3 and 1 alternate from the right."""
    total = sum(int(digit) * (3 if place % 2 == 0 else 1) for place, digit in enumerate(reversed(body)))
    return str(-total % 10)


def demonstration_gtin(length: int, number: int) -> str:
    """A GTIN of `length` digits (8, 12, 13 or 14) for the product numbered `number`."""
    indicator = "1" if length == 14 else ""
    room = length - 1 - len(indicator) - len(DEMONSTRATION_PREFIX)
    body = f"{indicator}{DEMONSTRATION_PREFIX}{number:0{room}d}"
    return body + check_digit(body)

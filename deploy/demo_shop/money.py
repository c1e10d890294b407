"""Prices as each locale writes them for people, and as markup writes them for machines."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

_SWAP = str.maketrans(",.", ".,")

_VISIBLE: dict[str, Callable[[Decimal], str]] = {
    "en-US": lambda price: f"${price:,.2f}",
    "de-DE": lambda price: f"{price:,.2f}".translate(_SWAP) + " €",
    "ja-JP": lambda price: f"¥{price:,.0f}",
    "fr-CH": lambda price: "CHF " + f"{price:,.2f}".replace(",", "'"),
}


def visible_price(price: Decimal, locale: str) -> str:
    return _VISIBLE[locale](price)


def plain_price(price: Decimal, currency: str) -> str:
    """A decimal with the currency's own number of places: "1299.00", "12800"."""
    return f"{price:.0f}" if currency == "JPY" else f"{price:.2f}"

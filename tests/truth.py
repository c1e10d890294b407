"""The demo shop's products as they are, beside the records that a consumer has read."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

_COMPARED = (
    "name",
    "sku",
    "mpn",
    "gtin",
    "brand",
    "price",
    "currency",
    "availability",
    "condition",
    "images",
    "rating",
)


def differences(truth: dict[str, Any], record: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """field: (as it is, as it was found), of the fields that the page's markup carries."""
    expected = {name: truth[name] for name in _COMPARED if truth.get(name) not in (None, "", [])}
    if "price" in expected:
        expected["price"] = Decimal(expected["price"])
    return {name: (value, record[name]) for name, value in expected.items() if record[name] != value}

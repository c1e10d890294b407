"""Records made from a schema alone, always the same: every branch of every union is in one of them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from avro.schema import parse

from crawlers.exceptions import UserError
from pipelines.schemas.notation import kind

_TIME = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
_LAST = 1_000
"""A turn after all values of any field."""


def samples(text: str) -> list[dict[str, Any]]:
    """Records of the schema `text`: the first has a value in every field, the last is as empty as it can be."""
    schema: Any = parse(text)
    number = max(len(_values(field.name, field.type)) for field in schema.fields)
    return [_record(schema, turn) for turn in range(number)]


def _record(schema: Any, turn: int) -> dict[str, Any]:
    values = {field.name: _values(field.name, field.type) for field in schema.fields}
    return {name: several[min(turn, len(several) - 1)] for name, several in values.items()}


def _values(name: str, schema: Any) -> list[Any]:
    """The values that the field `name` takes in turn, the emptiest last."""
    match kind(schema):
        case "union":
            branches = sorted(schema.schemas, key=lambda branch: bool(branch.type == "null"))
            return [value for branch in branches for value in _values(name, branch)]
        case "array":
            return [_values(name, schema.items), []]
        case "map":
            return [{name: _values(name, schema.values)[0]}, {}]
        case "record":
            return [_record(schema, 0), _record(schema, _LAST)]
        case "enum":
            return list(schema.symbols)
        case "fixed":
            return [bytes(range(schema.size))]
        case "decimal":
            return [Decimal(sign * 123456789).scaleb(-schema.scale) for sign in (1, -1)]
        case "string":
            return [f"{name}: Grüße, 世界", ""]
        case plain if plain in _PLAIN:
            return _PLAIN[plain]
        case unknown:
            raise UserError(f"field {name}: there is no sample of Avro's {unknown}")


_PLAIN: dict[str, list[Any]] = {
    "null": [None],
    "boolean": [True, False],
    "int": [2**31 - 1, -1, 0],
    "long": [2**63 - 1, -1, 0],
    "float": [0.5, 0.0],
    "double": [4.2, 0.0],
    "bytes": [b"\x00\xff", b""],
    "timestamp-millis": [_TIME],
}

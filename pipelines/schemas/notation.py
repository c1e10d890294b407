"""Avro types as messages show them: `null | decimal(18, 4)`, `array<string>`, `enum Size(S, M)`."""

from __future__ import annotations

import json
from typing import Any


def kind(schema: Any) -> str:
    """The logical type's name where there is one, else the type's."""
    return str(schema.props.get("logicalType") or schema.type)


def notation(schema: Any) -> str:
    """`schema`, an avro.schema.Schema, in one line."""
    match kind(schema):
        case "union":
            return " | ".join(map(notation, schema.schemas))
        case "array":
            return f"array<{notation(schema.items)}>"
        case "map":
            return f"map<{notation(schema.values)}>"
        case "record":
            return f"record {schema.name}({', '.join(field.name for field in schema.fields)})"
        case "enum":
            return f"enum {schema.name}({', '.join(schema.symbols)})"
        case "fixed":
            return f"fixed {schema.name}({schema.size})"
        case "decimal":
            return f"decimal({schema.precision}, {schema.scale})"
        case plain:
            return plain


def field_notation(field: Any) -> str:
    """A field's type, and its default where it has one: `null | string = null`."""
    default = f" = {json.dumps(field.default)}" if field.has_default else ""
    return notation(field.type) + default

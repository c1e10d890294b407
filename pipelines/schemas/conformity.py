"""Whether an item class is what its schema says: the same fields in the same order, of the same types and defaults."""

from __future__ import annotations

import types
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Union, get_args, get_origin, get_type_hints

from avro.schema import RecordSchema

from pipelines.schemas.notation import field_notation, kind

_KINDS = {
    type(None): {"null"},
    bool: {"boolean"},
    int: {"int", "long"},
    float: {"double"},
    str: {"string"},
    bytes: {"bytes"},
    Decimal: {"decimal"},
    datetime: {"timestamp-millis"},
}
"""Python's type: the Avro types that hold it. Money is a decimal and never a double; a time has milliseconds."""


def mismatches(item: type, schema: RecordSchema) -> list[str]:
    """How the dataclass `item` differs from `schema`, one line per field; empty when they are the same."""
    declared: dict[str, Field[Any]] = {field.name: field for field in fields(item)}
    described = {field.name: field for field in schema.fields}
    problems = [f"field {name}: in {item.__name__} only" for name in declared if name not in described]
    problems += [f"field {name}: in the schema only" for name in described if name not in declared]
    if not problems and list(declared) != list(described):
        problems.append(f"the order of {item.__name__}'s fields is not the schema's")
    hints = get_type_hints(item)
    for name in declared.keys() & described.keys():
        problems += _of_field(declared[name], hints[name], described[name])
    return problems


def _of_field(declared: Field[Any], hint: Any, described: Any) -> list[str]:
    said = f"the schema says {field_notation(described)}"
    if described.type.type != "union" and declared.default is None:
        hint = _filled_in(hint)
    if not _fits(hint, described.type):
        return [f"field {declared.name}: {declared.type} in the item, and {said}"]
    if described.has_default and _default(declared) != described.default:
        return [f"field {declared.name}: the item's default is {_default(declared)!r}, and {said}"]
    return []


def _filled_in(hint: Any) -> Any:
    """An item may lack what is filled in before it is written, such as `fetched_at`; validation sees to that."""
    filled = [one for one in get_args(hint) if one is not type(None)]
    return filled[0] if len(filled) == 1 else hint


def _default(declared: Field[Any]) -> Any:
    return declared.default if declared.default_factory is MISSING else declared.default_factory()


def _fits(hint: Any, schema: Any) -> bool:
    """Whether the Avro type holds exactly what the annotation allows."""
    if get_origin(hint) in (types.UnionType, Union):
        return schema.type == "union" and _pairs(get_args(hint), schema.schemas)
    if get_origin(hint) is list:
        return schema.type == "array" and _fits(get_args(hint)[0], schema.items)
    if get_origin(hint) is dict:
        return schema.type == "map" and _fits(get_args(hint)[1], schema.values)
    if isinstance(hint, type) and is_dataclass(hint):
        return schema.type == "record" and schema.name == hint.__name__ and not mismatches(hint, schema)
    return kind(schema) in _KINDS.get(hint, ())


def _pairs(hints: tuple[Any, ...], branches: list[Any]) -> bool:
    """Whether each alternative has a branch of its own, and each branch an alternative."""
    return len(hints) == len(branches) and all(any(_fits(hint, branch) for branch in branches) for hint in hints)

"""Whether one schema can read what another has written, told by field.

Avro's rules of schema resolution, and one more: a logical type stays what it was. By Avro's rules alone any bytes could
be read as a decimal of any scale, and the numbers would be wrong.
"""

from __future__ import annotations

from typing import Any

from avro.errors import AvroException
from avro.schema import RecordSchema, parse

from pipelines.schemas.notation import kind, notation

_PROMOTIONS = {
    "int": {"long", "float", "double"},
    "long": {"float", "double"},
    "float": {"double"},
    "string": {"bytes"},
    "bytes": {"string"},
}
"""written type: the other types that it may be read as."""


def unreadable_versions(text: str, versions: dict[int, str]) -> list[str]:
    """What the schema `text` cannot read of which of `versions` (text by number), one line per field."""
    reader: Any = parse(text)
    problems = []
    for number, written in versions.items():
        try:
            found = incompatibilities(reader, parse(written))  # type: ignore[arg-type]
        except (AvroException, ValueError, TypeError, AttributeError, RecursionError) as error:
            found = [f"is no schema of Avro's: {error or type(error).__name__}"]
        problems += [f"version {number}: {problem}" for problem in found]
    return problems


def incompatibilities(reader: RecordSchema, writer: RecordSchema) -> list[str]:
    """What keeps `reader` from reading records of `writer`, one line per field; empty when compatible."""
    names = [getattr(schema, "fullname", schema.type) for schema in (reader, writer)]
    if names[0] != names[1]:
        return [f"it is {names[0]}, and was {names[1]}"]
    return _of_records("", reader, writer)


def _of_records(prefix: str, reader: Any, writer: Any) -> list[str]:
    problems = []
    for field in reader.fields:
        name = f"{prefix}{field.name}"
        written = _written(field, writer)
        if written is not None:
            problems += _of_types(name, field.type, written.type)
        elif not field.has_default:
            problems.append(f"field {name} is new and has no default")
    return problems


def _written(field: Any, writer: Any) -> Any:
    names = (field.name, *(field.props.get("aliases") or ()))
    return next((writer.fields_dict[name] for name in names if name in writer.fields_dict), None)


def _of_types(name: str, reader: Any, writer: Any) -> list[str]:
    """Every branch that may have been written must be readable as one of the reader's."""
    problems = []
    for branch in _branches(writer):
        same = next((one for one in _branches(reader) if _identity(one) == _identity(branch)), None)
        if same is not None:
            problems += _of_same(name, same, branch)
        elif not any(_reads(one, branch) for one in _branches(reader)):
            problems.append(f"field {name}: was {notation(writer)}, is {notation(reader)}")
    return list(dict.fromkeys(problems))


def _of_same(name: str, reader: Any, writer: Any) -> list[str]:
    """Two types of one identity may still differ inside."""
    match reader.type:
        case "record":
            return _of_records(f"{name}.", reader, writer)
        case "array":
            return _of_types(f"{name}[]", reader.items, writer.items)
        case "map":
            return _of_types(f"{name}{{}}", reader.values, writer.values)
        case "enum" if not reader.props.get("default"):
            lost = [symbol for symbol in writer.symbols if symbol not in reader.symbols]
            return [f"field {name}: enum {reader.name} has lost {', '.join(lost)}"] if lost else []
        case _:
            return []


def _branches(schema: Any) -> list[Any]:
    return list(schema.schemas) if schema.type == "union" else [schema]


def _identity(schema: Any) -> tuple[Any, ...]:
    """What two types must share to be the same: kind, name, and what a decimal's or a fixed's bytes mean."""
    shape = [getattr(schema, name, None) for name in ("precision", "scale", "size")]
    return (schema.type, kind(schema), getattr(schema, "fullname", ""), *shape)


def _reads(reader: Any, writer: Any) -> bool:
    """Whether the one plain type is promoted to the other."""
    plain = kind(reader) == reader.type and kind(writer) == writer.type
    return plain and reader.type in _PROMOTIONS.get(writer.type, ())

"""What differs between two schemas of one record, field by field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from avro.schema import RecordSchema

from pipelines.schemas.notation import field_notation


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field that is not what it was; `before` and `after` in one line each, empty where there is no such field."""

    field: str
    change: Literal["added", "removed", "changed", "described"]
    """"described": only its doc or another property differs."""
    before: str
    after: str


def differences(before: RecordSchema, after: RecordSchema) -> list[FieldChange]:
    """From `before` to `after`: in the order of `after`, then what was removed."""
    found = []
    for field in after.fields:
        earlier = before.fields_dict.get(field.name)
        if earlier is None:
            found.append(FieldChange(field.name, "added", "", field_notation(field)))
        elif not _same(earlier, field):
            found.append(_changed(earlier, field))
    kept = after.fields_dict
    removed = [field for field in before.fields if field.name not in kept]
    return found + [FieldChange(field.name, "removed", field_notation(field), "") for field in removed]


def _same(earlier: Any, field: Any) -> bool:
    return bool(earlier.to_json() == field.to_json())


def _changed(earlier: Any, field: Any) -> FieldChange:
    before, after = field_notation(earlier), field_notation(field)
    return FieldChange(field.name, "described" if before == after else "changed", before, after)

"""The committed schemas: they are the contract.

NAME.avsc is what is written now. versions/NAME.N.avsc is what was version N, and never changes; versions/NAME.N.avro
holds records of that version, which every later schema must be able to read.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent
VERSIONS = _FOLDER / "versions"


def schema_text(name: str) -> str:
    """The text of `name`.avsc."""
    return (_FOLDER / f"{name}.avsc").read_text(encoding="utf-8")


def schema_names() -> list[str]:
    """The committed schemas' names, which are their topics' default names."""
    return sorted(path.stem for path in _FOLDER.glob("*.avsc"))


def schema(name: str) -> Any:
    """The parsed JSON of `name`.avsc."""
    return json.loads(schema_text(name))


def committed_versions(name: str) -> dict[int, str]:
    """The text of every committed version of `name` by its number, oldest first."""
    numbers = sorted(int(path.name.split(".")[-2]) for path in VERSIONS.glob(f"{name}.*.avsc"))
    return {number: (VERSIONS / f"{name}.{number}.avsc").read_text(encoding="utf-8") for number in numbers}


def is_same(one: str, other: str) -> bool:
    """Whether two texts are the same schema, however they are laid out."""
    return bool(json.loads(one) == json.loads(other))


def claimable_fields(name: str) -> list[str]:
    """The fields that may hold a ClaimCheck in place of their bytes.

    Each has two more beside it, which say how to read either: NAME_type and NAME_encoding.
    """
    return [field["name"] for field in schema(name)["fields"] if "ClaimCheck" in _branches(field["type"])]


def _branches(kind: Any) -> set[str]:
    """The names of a union's types."""
    return (
        {one["name"] if isinstance(one, dict) and "name" in one else str(one) for one in kind}
        if isinstance(kind, list)
        else set()
    )

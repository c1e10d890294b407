"""The committed schemas: they are the contract."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent


def schema_text(name: str) -> str:
    """The text of `name`.avsc."""
    return (_FOLDER / f"{name}.avsc").read_text(encoding="utf-8")


def schema_names() -> list[str]:
    """The committed schemas' names, which are their topics' default names."""
    return sorted(path.stem for path in _FOLDER.glob("*.avsc"))


def schema(name: str) -> Any:
    """The parsed JSON of `name`.avsc."""
    return json.loads(schema_text(name))

"""A team's own serializer for scrapy-redis: JSON does not take the bytes that requests have."""

from __future__ import annotations

import json
from typing import Any

loads = json.loads


def dumps(fields: dict[str, Any]) -> str:
    return json.dumps(_text(fields))


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, dict):
        return {_text(name): _text(part) for name, part in value.items()}
    return [_text(part) for part in value] if isinstance(value, list | tuple) else value

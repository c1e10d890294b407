"""A mapping that holds no more than so many bytes: what was used longest ago makes room."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Bounded(Generic[Value]):
    """By keys that are texts. The bytes of a value are whatever its owner says."""

    def __init__(self, most: int):
        self._most = most
        self._held = 0
        self._values: OrderedDict[str, tuple[Value, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: str) -> Value | None:
        """The value, which counts as used now."""
        if (found := self._values.get(key)) is None:
            return None
        self._values.move_to_end(key)
        return found[0]

    def put(self, key: str, value: Value, size: int) -> None:
        """Keep `value`, in the place of an earlier one; it is there also where it alone is more than fits."""
        self.drop(key)
        self._values[key] = value, size
        self._held += size
        while self._held > self._most and len(self._values) > 1:
            self._held -= self._values.popitem(last=False)[1][1]

    def drop(self, key: str) -> None:
        """Forget the key, where it is known."""
        if (found := self._values.pop(key, None)) is not None:
            self._held -= found[1]

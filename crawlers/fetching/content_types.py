"""Which types of content are worth a download."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import translate
from functools import lru_cache

from crawlers.exceptions import UserError


class ContentTypes:
    """`patterns`: as text/* or application/*+xml. UserError where one is no type."""

    def __init__(self, patterns: Iterable[str]):
        patterns = [pattern.lower() for pattern in patterns]
        for pattern in patterns:
            if not re.fullmatch(r"[^\s/;]+/[^\s/;]+", pattern):
                raise UserError(f"CONTENT_TYPES: {pattern}: expected a type, as text/html or text/*")
        self._match = re.compile("|".join(map(translate, patterns))).match if patterns else lambda type_: True
        self.takes = lru_cache(256)(self._takes)

    def _takes(self, header: bytes) -> bool:
        """Whether a body of that Content-Type is worth a download. One without a type may be anything."""
        type_ = header.partition(b";")[0].strip().decode("latin-1").lower()
        return not type_ or self._match(type_) is not None

"""W3C's traceparent, and the ids in it."""

from __future__ import annotations

import hashlib
import random
import re

TRACEPARENT = "traceparent"
"""The header of records, and the key of meta under which a request keeps that of its parent."""
_FORM = re.compile("00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


def trace_id_of(crawl_id: str, spider: str, request_id: bytes) -> int:
    """The same for all attempts at a request in its crawl, whichever workers make them; as a record id is."""
    told = f"{crawl_id}|{spider}|".encode() + request_id
    return int.from_bytes(hashlib.blake2b(told, digest_size=16).digest()) or 1


def fresh_span_id() -> int:
    """Another one each time."""
    return random.getrandbits(64) or 1


def write(trace_id: int, span_id: int, *, is_sampled: bool) -> str:
    """The text of a traceparent."""
    return f"00-{trace_id:032x}-{span_id:016x}-0{is_sampled:d}"


def read(text: object) -> tuple[int, int, int] | None:
    """(trace id, span id, flags); None where `text`, which may be anything, is no traceparent."""
    found = _FORM.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None
    trace_id, span_id, flags = (int(part, 16) for part in found.groups())
    return (trace_id, span_id, flags) if trace_id and span_id else None

"""`scrapy claims gc`: deletes the blobs that no retained record can refer to."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from crawlers.claims.references import referred

if TYPE_CHECKING:
    from pipelines.claims.store import Blob, ClaimStore

MOST = 1_000_000
"""Blobs that one run deletes at most, as it keeps their names in memory."""


@dataclass(slots=True)
class Garbage:
    """What may be deleted, and what was looked at."""

    unused_since: float
    """Seconds since 1970: what was stored after it stays, whoever refers to it."""
    blobs: int = 0
    bytes: int = 0
    records: int = 0
    referred: int = 0
    """Blobs from before `unused_since` that a record refers to all the same."""
    deletable: list[Blob] = field(default_factory=list)

    @property
    def freed(self) -> int:
        """Bytes of what may be deleted."""
        return sum(blob.size for blob in self.deletable)


async def find_garbage(store: ClaimStore, settings: Any, topics: list[str], keep_seconds: float) -> Garbage:
    """The blobs that were stored longer than `keep_seconds` ago and that no retained record of `topics` refers to.

    The store is listed before the topics are read: a record that comes later than that has renewed its blob's time.
    """
    garbage = Garbage(time.time() - keep_seconds if math.isfinite(keep_seconds) else -math.inf)
    old: dict[str, Blob] = {}
    async for blob in store.blobs():
        garbage.blobs += 1
        garbage.bytes += blob.size
        if blob.modified < garbage.unused_since and len(old) < MOST:
            old[blob.sha256 or blob.path] = blob
    if old:
        await asyncio.to_thread(_leave_referred, old, garbage, settings, topics)
    garbage.deletable = list(old.values())
    return garbage


async def delete(store: ClaimStore, garbage: Garbage) -> int:
    """Delete what is still unused; how many that were."""
    deleted = 0
    for blob in garbage.deletable:
        deleted += await store.remove(blob, garbage.unused_since)
    return deleted


def _leave_referred(old: dict[str, Blob], garbage: Garbage, settings: Any, topics: list[str]) -> None:
    for claims in referred(settings, topics):
        garbage.records += 1
        for sha256 in claims:
            garbage.referred += old.pop(sha256, None) is not None

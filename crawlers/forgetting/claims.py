"""Deletes the claims of forgotten products that no other record refers to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

from crawlers.exceptions import StartupError
from pipelines.claims.claims import files_of
from pipelines.claims.files import StoreAway
from pipelines.claims.layout import blob_path
from pipelines.claims.store import Blob, ClaimStore

if TYPE_CHECKING:
    from collections.abc import Collection

ON_ITS_WAY = 600.0
"""Seconds since a claim was stored in which a record that refers to it may not have reached its topic."""


class Deleted(NamedTuple):
    """How many claims are gone, and how many were stored too lately to go."""

    gone: int
    left: int


def delete(settings: Any, claims: Collection[str], started: float) -> Deleted:
    """Delete `claims`, which nothing referred to at `started` (seconds since 1970). Blocks. Raises StartupError."""
    try:
        return asyncio.run(_delete(ClaimStore(files_of(settings)), claims, started - ON_ITS_WAY))
    except StoreAway as error:
        raise StartupError(f"the tombstones are written, the claims are not deleted: {error}. Run this again") from None


async def _delete(store: ClaimStore, claims: Collection[str], unused_since: float) -> Deleted:
    gone = left = 0
    try:
        for sha256 in claims:
            if await store.remove(Blob(blob_path(sha256), sha256, 0, 0.0), unused_since):
                gone += 1
            elif await store.files.status(blob_path(sha256)) is not None:
                left += 1
    finally:
        await store.files.close()
    return Deleted(gone, left)

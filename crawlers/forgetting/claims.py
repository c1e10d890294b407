"""Deletes the claims of forgotten products that no other record refers to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

from crawlers.claims.references import claims_of
from crawlers.exceptions import StartupError
from crawlers.records import RecordReader
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


class _Place(NamedTuple):
    """Where a claim is referred to."""

    sha256: str
    topic: str
    partition: int
    key: bytes


def referred_elsewhere(settings: Any, claims: Collection[str], keys: Collection[str]) -> set[str]:
    """Those of `claims` that a record of another key refers to and no tombstone follows. Blocks.

    Records of transactions that are open or aborted count, and their tombstones do not.
    """
    if not claims:
        return set()
    products, letters = settings["KAFKA_TOPIC_PRODUCTS"], settings["KAFKA_TOPIC_DEAD_LETTERS"]
    ours = {key.encode() for key in keys}
    places = {**_places(settings, products, claims, ours), **_places(settings, letters, claims, ours)}
    buried = _tombstones(settings, products, {place.key for place in places})
    return {place.sha256 for place, offset in places.items() if buried.get(place[1:], -1) < offset}


def _places(settings: Any, topic: str, claims: Collection[str], ours: set[bytes]) -> dict[_Place, int]:
    """The last offset at which each of `claims` is referred to by a key that is none of `ours`."""
    places = {}
    with RecordReader(settings, topic, isolation="read_uncommitted") as reader:
        for message in reader.retained():
            if message.key() not in ours:
                for sha256 in claims_of(message) & set(claims):
                    places[_Place(sha256, topic, message.partition(), message.key())] = message.offset()
    return places


def _tombstones(settings: Any, topic: str, keys: set[bytes]) -> dict[tuple[str, int, bytes], int]:
    """The offsets of the last committed tombstones of `keys`, by topic, partition and key."""
    found: dict[tuple[str, int, bytes], int] = {}
    if keys:
        with RecordReader(settings, topic) as reader:
            for message in reader.retained():
                if message.value() is None and message.key() in keys:
                    found[topic, message.partition(), message.key()] = message.offset()
    return found


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

"""`scrapy claims verify`: every retained record's claim exists and is what the record says."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from crawlers.claims.references import Reference, references, still_referred

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.claims.store import ClaimStore

_AT_ONCE = 8


@dataclass(slots=True)
class Verified:
    """What was found."""

    records: int = 0
    claims: int = 0
    bytes: int = 0
    bad: list[str] = field(default_factory=list)
    """One line for each claim that is missing or not as its record says, naming one record that refers to it."""
    missing: dict[str, str] = field(default_factory=dict)
    """The lines of those that are missing, by hash."""
    forgotten: int = 0
    """Claims that are gone with all products that referred to them: tombstones follow their records."""


async def verify(store: ClaimStore, settings: Any, topics: list[str]) -> Verified:
    """Read each blob that a retained record refers to, once."""
    found = Verified()
    distinct = _distinct(references(settings, topics), found)
    while batch := await asyncio.to_thread(lambda: list(islice(distinct, _AT_ONCE))):
        await asyncio.gather(*(_verify(store, reference, found) for reference in batch))
    missed = await asyncio.to_thread(still_referred, settings, topics, found.missing)
    found.bad += [line for sha256, line in found.missing.items() if sha256 in missed]
    found.forgotten = len(found.missing) - len(missed)
    return found


def _distinct(records: Iterator[list[Reference]], found: Verified) -> Iterator[Reference]:
    seen: set[bytes] = set()
    for record in records:
        found.records += 1
        for reference in record:
            digest = bytes.fromhex(reference.sha256)
            if digest not in seen:
                seen.add(digest)
                yield reference


async def _verify(store: ClaimStore, reference: Reference, found: Verified) -> None:
    found.claims += 1
    digest, size = hashlib.sha256(), 0
    try:
        async for chunk in store.read(reference.sha256):
            digest.update(chunk)
            size += len(chunk)
    except FileNotFoundError:
        found.missing[reference.sha256] = f"missing: {reference.sha256} of {reference.where}"
        return
    found.bytes += size
    if digest.hexdigest() != reference.sha256:
        found.bad.append(f"corrupt: {reference.sha256} of {reference.where}: its bytes have another hash")
    elif reference.size not in (None, size):
        found.bad.append(f"size: {reference.sha256} of {reference.where}: {size} bytes, and not {reference.size}")

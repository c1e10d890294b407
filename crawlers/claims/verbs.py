"""The verbs of `scrapy claims`."""

from __future__ import annotations

import asyncio
import hashlib
import math
import sys
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crawlers.asking import is_confirmed
from crawlers.claims.collecting import Garbage, delete, find_garbage
from crawlers.claims.verifying import verify as verified
from crawlers.exceptions import StartupError, UserError
from pipelines.claims.claims import files_of
from pipelines.claims.layout import is_sha256
from pipelines.claims.resolver import ClaimError, decoded
from pipelines.claims.store import ClaimStore
from pipelines.topics import retention_seconds

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator

_MAGIC = {b"\x28\xb5\x2f\xfd": "zstd", b"\x1f\x8b": "gzip"}
_DAY = 86_400


async def get(settings: Any, args: list[str], opts: argparse.Namespace) -> int:
    """Write a claim's bytes."""
    sha256 = args[0].rpartition("/")[2]
    if not is_sha256(sha256):
        raise UserError(f"{args[0]}: expected a claim's URI, or its SHA-256: 64 hexadecimal digits")
    async with _opened(settings) as store:
        try:
            data = b"".join([chunk async for chunk in store.read(sha256)])
        except FileNotFoundError:
            raise StartupError(f"{sha256}: not in {settings['CLAIM_CHECK_URL']}") from None
    if hashlib.sha256(data).hexdigest() != sha256:
        raise StartupError(f"{sha256}: what is stored under that name has another hash")
    encoding = next((name for magic, name in _MAGIC.items() if data.startswith(magic)), None)
    try:
        _write(data if opts.stored else decoded(data, encoding), opts.output)
    except ClaimError as error:
        raise StartupError(str(error)) from None
    return 0


async def verify(settings: Any, args: list[str], opts: argparse.Namespace) -> int:
    """Say of every claim that a record refers to whether it is there and what it was."""
    async with _opened(settings) as store:
        found = await verified(store, settings, _topics(settings, opts))
    for line in found.bad:
        print(line)
    good = found.claims - len(found.bad) - found.forgotten
    print(f"{found.records:,} records, {found.claims:,} claims, {_bytes(found.bytes)}: {good:,} good", end="")
    print(f", {found.forgotten:,} forgotten" if found.forgotten else "", end="")
    print(f", {len(found.bad):,} not" if found.bad else "")
    return int(bool(found.bad))


async def gc(settings: Any, args: list[str], opts: argparse.Namespace) -> int:
    """Delete what no record refers to any more."""
    async with _opened(settings) as store:
        if not settings.get("KAFKA_BOOTSTRAP_SERVERS"):
            raise UserError("KAFKA_BOOTSTRAP_SERVERS is not set: nothing else knows which claims are still referred to")
        topics = _topics(settings, opts)
        retention = await asyncio.to_thread(retention_seconds, settings, topics)
        if not opts.dry_run:
            await store.recover()
        keep_seconds = max(retention.values()) + settings.getint("CLAIM_CHECK_MARGIN")
        garbage = await find_garbage(store, settings, topics, keep_seconds)
        _describe(garbage, settings, retention)
        deletable = len(garbage.deletable)
        if deletable and not opts.dry_run and is_confirmed(f"Delete {deletable:,} files?", opts):
            print(f"deleted {await delete(store, garbage):,}")
    return 0


@asynccontextmanager
async def _opened(settings: Any) -> AsyncIterator[ClaimStore]:
    if not settings.get("CLAIM_CHECK_URL"):
        raise UserError('CLAIM_CHECK_URL is not set. On a laptop: eval "$(scrapy stack env)"')
    store = ClaimStore(files_of(settings))
    try:
        yield store
    finally:
        await store.files.close()


def _topics(settings: Any, opts: argparse.Namespace) -> list[str]:
    """Every topic whose records refer to the store."""
    own = [settings[f"KAFKA_TOPIC_{name}"] for name in ("PRODUCTS", "DEAD_LETTERS")]
    return list(dict.fromkeys([*own, *(opts.topic or [])]))


def _describe(garbage: Garbage, settings: Any, retention: dict[str, float]) -> None:
    margin = _days(settings.getint("CLAIM_CHECK_MARGIN"))
    kept = ", ".join(f"{topic} {_days(seconds)}" for topic, seconds in retention.items())
    print(f"store      {settings['CLAIM_CHECK_URL']}: {garbage.blobs:,} files, {_bytes(garbage.bytes)}")
    print(f"retention  {kept}; margin {margin}")
    if not math.isfinite(garbage.unused_since):
        print("deletable  nothing: a topic keeps its records for ever")
        return
    since = datetime.fromtimestamp(garbage.unused_since, UTC)
    old = garbage.referred + len(garbage.deletable)
    print(f"old        {old:,} files, last stored before {since:%Y-%m-%d %H:%M}Z")
    print(f"referred   {garbage.referred:,} of them, by {garbage.records:,} records")
    print(f"deletable  {len(garbage.deletable):,} files, {_bytes(garbage.freed)}")


def _write(data: bytes, output: str | None) -> None:
    if output is None:
        sys.stdout.buffer.write(data)
        return
    try:
        Path(output).write_bytes(data)
    except OSError as error:
        raise UserError(f"-o {output}: cannot be written: {error.strerror}") from None


def _days(seconds: float) -> str:
    return "for ever" if math.isinf(seconds) else f"{seconds / _DAY:,.6g} days"


def _bytes(number: int) -> str:
    size, unit = float(number), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:,.3g} {unit}"

"""Part `claims`: large fields to the claim store, on HDFS and on local files, beside the bare disk.

All are given the same bytes, as many at a time as a worker uploads at once. The bare disk is a file for each, written
and synced to the same disk, with no name made of its hash, no check and no rename.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.delivery.bench import Bench
from bench.delivery.services import settings_of
from bench.frontier.table import Row, beside, in_turns
from pipelines.claims.claims import Claims, consumer_base, files_of
from pipelines.claims.store import ClaimStore

HDFS, FILE, DISK = "HDFS", "file://", "the bare disk"
_SIZES = {"300 KiB": (300 * 1024, 100), "4 MiB": (4 * 1024**2, 16)}
"""Bytes of a field, and how many are stored in a round: just over the threshold, and a long page."""
_MB = 1e6
_WARM_UP = 24
"""Small fields that are not measured: HDFS makes connections and compiles with the first."""


def claims(bench: Bench) -> list[Row]:
    """Claim checks and MB per second of fields that the store does not have yet."""
    rows: list[Row] = []
    for name, (size, count) in _SIZES.items():
        rates = _rates(bench, name, size, count)
        for side in (HDFS, FILE):
            rows.append(beside(f"claim checks/s to {side}, {name} each", rates[side], DISK, rates[DISK], "/s"))
            mb = {one: [rate * size / _MB for rate in rates[one]] for one in (side, DISK)}
            rows.append(beside("  MB/s", mb[side], DISK, mb[DISK], "MB/s"))
    return rows


def _rates(bench: Bench, name: str, size: int, count: int) -> dict[str, list[float]]:
    """Fields per second of each side's rounds."""
    found: dict[str, list[float]] = {HDFS: [], FILE: [], DISK: []}
    hdfs = bench.env["CLAIM_CHECK_URL"]
    for number in range(bench.rounds):
        contents = random.Random(number)
        fields = [contents.randbytes(size) for _ in range(count)]
        folder = bench.folder / secrets.token_hex(4)
        folder.mkdir()
        urls = {HDFS: f"{hdfs}/{folder.name}", FILE: f"file://{folder}/claims"}
        for side in in_turns(list(found), number):
            seconds = asyncio.run(_store(urls[side], fields)) if side in urls else _write(folder, fields)
            found[side].append(count / seconds)
            bench.say(f"claims of {name}, round {number + 1}  {side:<14}{found[side][-1]:8.1f}/s")
    return found


async def _store(url: str, fields: list[bytes]) -> float:
    """Seconds until all claims are there."""
    settings = settings_of({"CLAIM_CHECK_URL": url})
    files = files_of(settings)
    await files.check()
    claims = Claims(ClaimStore(files), consumer_base(settings), concurrency=settings.getint("CLAIM_CHECK_CONCURRENCY"))
    try:
        await asyncio.gather(*(claims.put(secrets.token_bytes(64)) for _ in range(_WARM_UP)))
        started = time.monotonic()
        await asyncio.gather(*(claims.put(field) for field in fields))
        return time.monotonic() - started
    finally:
        await claims.close()


def _write(folder: Path, fields: list[bytes]) -> float:
    """Seconds until all files are on the disk."""
    settings = settings_of({})
    with ThreadPoolExecutor(settings.getint("CLAIM_CHECK_CONCURRENCY")) as pool:
        started = time.monotonic()
        list(pool.map(_write_one, (folder / str(number) for number in range(len(fields))), fields))
        return time.monotonic() - started


def _write_one(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())

"""`scrapy claims get | verify | gc`: the store of large fields."""

from __future__ import annotations

import asyncio
import hashlib
import math
import sys
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from scrapy.commands import ScrapyCommand
from scrapy.exceptions import UsageError

from crawlers.claims.collecting import Garbage, delete, find_garbage
from crawlers.claims.verifying import verify
from crawlers.exceptions import SeineError, StartupError, UserError
from pipelines.claims.claims import files_of
from pipelines.claims.files import StoreAway
from pipelines.claims.layout import is_sha256
from pipelines.claims.resolver import ClaimError, decoded
from pipelines.claims.store import ClaimStore
from pipelines.topics import retention_seconds

if TYPE_CHECKING:
    import argparse

_MAGIC = {b"\x28\xb5\x2f\xfd": "zstd", b"\x1f\x8b": "gzip"}
_DAY = 86_400


class Command(ScrapyCommand):
    """Exit code 0: done, or all is well. 1: a claim is missing or corrupt, or a service fails. 2: a mistake."""

    requires_project = True
    requires_crawler_process = False
    default_settings: ClassVar[dict[str, Any]] = {"LOG_ENABLED": False}

    def syntax(self) -> str:
        return "get URI|SHA256 [-o FILE] [--stored] | verify | gc [--dry-run] [--yes]"

    def short_desc(self) -> str:
        return "Read, check and clean up what records keep outside of themselves"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        super().add_options(parser)
        parser.add_argument("-o", "--output", metavar="FILE", help="get: write here, not to stdout")
        parser.add_argument("--stored", action="store_true", help="get: the bytes as stored, not decompressed")
        parser.add_argument("--dry-run", action="store_true", help="gc: say what would be deleted, and delete nothing")
        parser.add_argument("--yes", action="store_true", help="gc: delete without asking")
        parser.add_argument(
            "--topic",
            action="append",
            default=[],
            help="verify, gc: one more topic whose records refer to this store, beside products and dead letters",
        )

    def run(self, args: list[str], opts: argparse.Namespace) -> None:
        match args:
            case ["get", claim]:
                self._run(self._get(claim, opts))
            case ["verify"]:
                self._run(self._verify(opts))
            case ["gc"]:
                self._run(self._gc(opts))
            case _:
                raise UsageError(f"expected: scrapy claims {self.syntax()}")

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            asyncio.run(work)
        except (StoreAway, ClaimError) as error:
            self._fail(1, str(error))
        except SeineError as error:
            self._fail(error.exit_code, str(error))
        except KeyboardInterrupt:
            self._fail(130, "interrupted")

    def _fail(self, code: int, message: str) -> None:
        print(f"seine: {message}", file=sys.stderr)
        self.exitcode = code

    def _store(self) -> ClaimStore:
        if not self._settings.get("CLAIM_CHECK_URL"):
            raise UserError('CLAIM_CHECK_URL is not set. On a laptop: eval "$(scrapy stack env)"')
        return ClaimStore(files_of(self._settings))

    @property
    def _settings(self) -> Any:
        return self.settings

    def _topics(self, opts: argparse.Namespace) -> list[str]:
        """Every topic whose records refer to the store."""
        own = [self._settings[f"KAFKA_TOPIC_{name}"] for name in ("PRODUCTS", "DEAD_LETTERS")]
        return list(dict.fromkeys([*own, *opts.topic]))

    async def _get(self, claim: str, opts: argparse.Namespace) -> None:
        sha256 = claim.rpartition("/")[2]
        if not is_sha256(sha256):
            raise UserError(f"{claim}: expected a claim's URI, or its SHA-256: 64 hexadecimal digits")
        store = self._store()
        try:
            data = b"".join([chunk async for chunk in store.read(sha256)])
        except FileNotFoundError:
            raise StartupError(f"{sha256}: not in {self._settings['CLAIM_CHECK_URL']}") from None
        finally:
            await store.files.close()
        if hashlib.sha256(data).hexdigest() != sha256:
            raise StartupError(f"{sha256}: what is stored under that name has another hash")
        encoding = next((name for magic, name in _MAGIC.items() if data.startswith(magic)), None)
        _write(data if opts.stored else decoded(data, encoding), opts.output)

    async def _verify(self, opts: argparse.Namespace) -> None:
        store = self._store()
        try:
            found = await verify(store, self._settings, self._topics(opts))
        finally:
            await store.files.close()
        for line in found.bad:
            print(line)
        good = found.claims - len(found.bad) - found.forgotten
        print(f"{found.records:,} records, {found.claims:,} claims, {_bytes(found.bytes)}: {good:,} good", end="")
        print(f", {found.forgotten:,} forgotten" if found.forgotten else "", end="")
        print(f", {len(found.bad):,} not" if found.bad else "")
        self.exitcode = int(bool(found.bad))

    async def _gc(self, opts: argparse.Namespace) -> None:
        store, topics = self._store(), self._topics(opts)
        if not self._settings.get("KAFKA_BOOTSTRAP_SERVERS"):
            raise UserError("KAFKA_BOOTSTRAP_SERVERS is not set: nothing else knows which claims are still referred to")
        try:
            retention = await asyncio.to_thread(retention_seconds, self._settings, topics)
            keep_seconds = max(retention.values()) + self._settings.getint("CLAIM_CHECK_MARGIN")
            if not opts.dry_run:
                await store.recover()
            garbage = await find_garbage(store, self._settings, topics, keep_seconds)
            self._describe(garbage, retention)
            if garbage.deletable and not opts.dry_run and self._agreed(garbage, opts):
                print(f"deleted {await delete(store, garbage):,}")
        finally:
            await store.files.close()

    def _describe(self, garbage: Garbage, retention: dict[str, float]) -> None:
        margin = _days(self._settings.getint("CLAIM_CHECK_MARGIN"))
        kept = ", ".join(f"{topic} {_days(seconds)}" for topic, seconds in retention.items())
        print(f"store      {self._settings['CLAIM_CHECK_URL']}: {garbage.blobs:,} files, {_bytes(garbage.bytes)}")
        print(f"retention  {kept}; margin {margin}")
        if not math.isfinite(garbage.unused_since):
            print("deletable  nothing: a topic keeps its records for ever")
            return
        since = datetime.fromtimestamp(garbage.unused_since, UTC)
        old = garbage.referred + len(garbage.deletable)
        print(f"old        {old:,} files, last stored before {since:%Y-%m-%d %H:%M}Z")
        print(f"referred   {garbage.referred:,} of them, by {garbage.records:,} records")
        print(f"deletable  {len(garbage.deletable):,} files, {_bytes(garbage.freed)}")

    def _agreed(self, garbage: Garbage, opts: argparse.Namespace) -> bool:
        if opts.yes:
            return True
        if not sys.stdin.isatty():
            raise UserError("nothing was deleted: add --yes, or --dry-run")
        return input(f"delete {len(garbage.deletable):,} files? [y/N] ").strip().lower() in ("y", "yes")


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

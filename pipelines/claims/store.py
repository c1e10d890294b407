"""The claim store: blobs by their hash, on any file system."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from pipelines.claims.files import StoreAway
from pipelines.claims.layout import ROOT, blob_path, is_sha256

if TYPE_CHECKING:
    from pipelines.claims.files import Files

_ASIDE = "claims/aside"
"""Where a blob is while it is being removed."""


class Blob(NamedTuple):
    """A file of the store: a blob, or what an upload that never ended has left."""

    path: str
    sha256: str | None
    """None for what an upload has left."""
    size: int
    modified: float
    """When it was last stored, in seconds since 1970: by the first record that refers to it, or a later one."""


class ClaimStore:
    """Content-addressed: a blob that has its name is complete, and no blob ever changes.

    Every call raises StoreAway where the file system fails.
    """

    def __init__(self, files: Files):
        self.files = files

    async def put(self, sha256: str, data: bytes) -> bool:
        """Return when the blob is durable. False where it was there: its time is now that of this call."""
        path = blob_path(sha256)
        if await self.files.touch(path):
            return False
        # Beside its blob, so that one folder is made; unique, so that two uploads never share a file.
        upload = f"{path.removesuffix(sha256)}.{sha256}.{secrets.token_hex(8)}"
        try:
            await self._upload(upload, data)
            is_new = await self.files.rename(upload, path)
            if not is_new and not await self.files.touch(path):
                raise StoreAway("error", f"{path}: its upload could not be renamed")
        except StoreAway:
            await self._discard(upload)
            raise
        if not is_new:
            await self._discard(upload)
        return is_new

    async def touch(self, sha256: str) -> bool:
        """Whether the blob is there; its time is now that of this call, so that it is not removed meanwhile."""
        return await self.files.touch(blob_path(sha256))

    def read(self, sha256: str) -> AsyncIterator[bytes]:
        """The blob's bytes. Raises FileNotFoundError."""
        return self.files.read(blob_path(sha256))

    async def blobs(self) -> AsyncIterator[Blob]:
        """All blobs and what uploads have left, in the order of their hashes."""
        for outer in sorted(await self.files.list(ROOT)):
            inners = [
                f"{ROOT}/{outer.name}/{one.name}" for one in sorted(await self.files.list(f"{ROOT}/{outer.name}"))
            ]
            for folder, files in zip(inners, await asyncio.gather(*map(self.files.list, inners)), strict=True):
                for file in sorted(files):
                    sha256 = file.name if is_sha256(file.name) else None
                    yield Blob(f"{folder}/{file.name}", sha256, file.size, file.modified)

    async def remove(self, blob: Blob, unused_since: float) -> bool:
        """Delete the blob, unless it was stored again after `unused_since`; whether it is gone.

        It is moved aside first: a worker that stores it again after that makes a new one, and one that did so before
        has left its time on it.
        """
        if blob.sha256 is None:
            await self.files.delete(blob.path)
            return True
        aside = f"{_ASIDE}/{blob.sha256}"
        if not await self.files.rename(blob.path, aside):
            return False
        found = await self.files.status(aside)
        if found is not None and found.modified >= unused_since:
            await self._put_back(blob.sha256)
            return False
        await self.files.delete(aside)
        return True

    async def recover(self) -> None:
        """Put back what a removal that was killed has left aside. No other removal may run."""
        for file in await self.files.list(_ASIDE):
            await self._put_back(file.name)

    async def _put_back(self, sha256: str) -> None:
        if not await self.files.rename(f"{_ASIDE}/{sha256}", blob_path(sha256)):
            await self.files.delete(f"{_ASIDE}/{sha256}")

    async def _upload(self, path: str, data: bytes) -> None:
        try:
            await self.files.write(path, data)
        except FileNotFoundError as error:  # somebody removed it meanwhile
            raise StoreAway("incomplete", f"{path}: {error}") from None
        status = await self.files.status(path)
        if status is None or status.size != len(data):
            raise StoreAway("incomplete", f"{path}: {status.size if status else 0} of {len(data)} bytes arrived")

    async def _discard(self, upload: str) -> None:
        """What cannot be deleted now is left to `scrapy claims gc`."""
        with suppress(StoreAway):
            await self.files.delete(upload)

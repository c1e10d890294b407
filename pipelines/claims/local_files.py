"""Local files, or a mounted file system: `file:///folder`."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from pipelines.claims.files import CHUNK, FileStatus, StoreAway
from pipelines.claims.layout import ROOT

T = TypeVar("T")

_REASONS = {
    errno.ENOSPC: "full",
    errno.EDQUOT: "full",
    errno.EACCES: "denied",
    errno.EPERM: "denied",
    errno.EROFS: "denied",
}


class LocalFiles:
    """Every call runs in a thread. What `write` and `rename` made survives the machine's crash."""

    def __init__(self, base: Path):
        self._base = base

    async def check(self) -> None:
        await _in_thread(self._check)

    async def write(self, path: str, data: bytes) -> None:
        await _in_thread(_write, self._base / path, data)

    async def status(self, path: str) -> FileStatus | None:
        return await _in_thread(_status, self._base / path)

    async def touch(self, path: str) -> bool:
        return await _in_thread(_touch, self._base / path)

    async def rename(self, old: str, new: str) -> bool:
        return await _in_thread(_rename, self._base / old, self._base / new)

    async def delete(self, path: str) -> None:
        await _in_thread((self._base / path).unlink, True)

    async def list(self, path: str) -> list[FileStatus]:
        return await _in_thread(_list, self._base / path)

    async def read(self, path: str) -> AsyncIterator[bytes]:
        file: BinaryIO = await _in_thread((self._base / path).open, "rb")
        with file:
            while chunk := await _in_thread(file.read, CHUNK):
                yield chunk

    async def close(self) -> None:
        """Nothing is held open."""

    def _check(self) -> None:
        folder = self._base / ROOT
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "cannot be written to", str(folder))


async def _in_thread(call: Callable[..., T], *args: Any) -> T:
    try:
        return await asyncio.to_thread(call, *args)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StoreAway(_REASONS.get(error.errno or 0, "error"), f"{error.filename}: {error.strerror}") from None


def _write(path: Path, data: bytes) -> None:
    _make_folder(path.parent)
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _make_folder(folder: Path) -> None:
    """Make `folder`; those on its way that are new are durable, too."""
    if not folder.exists():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)


def _rename(old: Path, new: Path) -> bool:
    if new.exists():
        return False
    _make_folder(new.parent)
    try:
        old.rename(new)
    except FileNotFoundError:
        return False
    _sync(new.parent)
    return True


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _touch(path: Path) -> bool:
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def _status(path: Path) -> FileStatus | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return FileStatus(path.name, found.st_size, found.st_mtime, path.is_dir())


def _list(folder: Path) -> list[FileStatus]:
    if not folder.exists():
        return []
    return [status for path in sorted(folder.iterdir()) if (status := _status(path)) is not None]

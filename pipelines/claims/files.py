"""What a claim store needs of a file system: the interface of local files and HDFS."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from crawlers.exceptions import SeineError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CHUNK = 256 * 1024
"""Bytes that are read or written at once."""


class StoreAway(SeineError):
    """The store cannot do it now; it may later. `reason` is a word for metrics.

    unreachable, timeout, standby, safe mode, full, denied, incomplete, or error for what has no word of its own.
    """

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason


class FileStatus(NamedTuple):
    """A file or a folder as its parent lists it."""

    name: str
    size: int
    """Bytes."""
    modified: float
    """Seconds since 1970."""
    is_folder: bool


class Files(Protocol):
    """Files below one base; paths are relative to it. Every call raises StoreAway where the file system fails."""

    async def check(self) -> None:
        """Make sure that files can be written below the base."""

    async def write(self, path: str, data: bytes) -> None:
        """Make the file, and the folders on its way; it is closed and durable on return."""

    async def status(self, path: str) -> FileStatus | None:
        """None where nothing is there."""

    async def touch(self, path: str) -> bool:
        """Set its time to now. False where nothing is there."""

    async def rename(self, old: str, new: str) -> bool:
        """Move a file in one step; its time stays. False where `new` is there already, or `old` is not."""

    async def delete(self, path: str) -> None:
        """Nothing is there afterwards."""

    async def list(self, path: str) -> list[FileStatus]:
        """What is in a folder; empty where there is none."""

    def read(self, path: str) -> AsyncIterator[bytes]:
        """Its bytes in order. Raises FileNotFoundError."""

    async def close(self) -> None:
        """Let go of connections."""

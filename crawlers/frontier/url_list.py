"""The lines of a list of URLs, from a file or standard input, however large."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crawlers.exceptions import UserError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

STDIN = "-"
_CHUNK = 65_536
LONGEST = 16_384
"""Bytes of a line; of a longer one, the rest is dropped."""


class UrlList:
    """Reads a list line by line, and keeps a digest of what was read: the beginning of a list is known by it."""

    def __init__(self, path: str):
        self.name = "stdin" if path == STDIN else Path(path).name
        self._path = path
        self._file: Any = None
        self._descriptor = -1
        self.line = 0
        """The number of the last line that was read."""
        self.bytes = 0
        """Read so far."""
        self._digest = hashlib.sha256()

    def open(self) -> None:
        """Begin with the first line. UserError where the file cannot be read."""
        try:
            self._file = sys.stdin if self._path == STDIN else Path(self._path).open("rb")  # noqa: SIM115
            self._descriptor = self._file.fileno()
        except OSError as error:
            raise UserError(f"{self._path}: {error.strerror or error}") from None
        self.line, self.bytes, self._digest = 0, 0, hashlib.sha256()

    def rewind(self) -> None:
        """Begin with the first line again. UserError where that is gone."""
        if not self.is_rewindable:
            raise UserError("standard input cannot be read again from its first line: seed it into another --crawl")
        self.close()
        self.open()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None and self._path != STDIN:
            self._file.close()

    @property
    def is_rewindable(self) -> bool:
        """Whether it can be read again from its beginning."""
        return self._path != STDIN

    @property
    def size(self) -> int | None:
        """Bytes in all; None for what is no plain file."""
        status = os.fstat(self._descriptor)
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    @property
    def digest(self) -> str:
        """Of the lines so far."""
        return self._digest.hexdigest()

    async def lines(self) -> AsyncIterator[bytes]:
        """The lines, without their ends."""
        rest = b""
        while chunk := await self._read():
            *whole, rest = (rest + chunk).split(b"\n")
            rest = rest[: LONGEST + 1]
            for line in whole:
                yield self._counted(line)
        if rest:
            yield self._counted(rest)

    def _counted(self, line: bytes) -> bytes:
        line = line[: LONGEST + 1]
        self.line += 1
        self._digest.update(line + b"\n")
        return line.removeprefix(b"\xef\xbb\xbf") if self.line == 1 else line

    async def _read(self) -> bytes:
        """What there is, as soon as there is something; a plain file always has something."""
        loop, ready = asyncio.get_running_loop(), asyncio.Event()
        try:
            loop.add_reader(self._descriptor, ready.set)
        except PermissionError:  # it is a plain file, which is never waited for
            await asyncio.sleep(0)
        else:
            try:
                await ready.wait()
            finally:
                loop.remove_reader(self._descriptor)
        try:
            chunk = os.read(self._descriptor, _CHUNK)
        except OSError as error:
            raise UserError(f"{self._path}: {error.strerror}") from None
        self.bytes += len(chunk)
        return chunk

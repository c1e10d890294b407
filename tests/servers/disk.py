"""A disk that runs full under a process: a small file system where one may be mounted, else a limit on its files."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_BLOCK = b"\0" * 65_536


class Disk(ABC):
    """Holds `folder`, which the process `pid()` writes to."""

    @abstractmethod
    def fill(self) -> None:
        """From now on nothing can be written."""

    @abstractmethod
    def free(self) -> None:
        """There is room again."""


class SmallFileSystem(Disk):
    """A tmpfs of a size of its own; a file of zeros takes what is left of it. Needs root."""

    def __init__(self, folder: Path):
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        with self._ballast.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(_BLOCK)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise

    def free(self) -> None:
        self._ballast.unlink(missing_ok=True)


class FileSizeLimit(Disk):
    """RLIMIT_FSIZE of a running process: every write to a file fails (EFBIG), as it does on a full disk (ENOSPC)."""

    def __init__(self, pid: Callable[[], int]):
        self._pid = pid

    def fill(self) -> None:
        warnings.warn("no file system may be mounted here: RLIMIT_FSIZE stands in for the full disk", stacklevel=2)
        pid = self._pid()
        _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, most))

    def free(self) -> None:
        """Nothing is left to do: the limit has gone with its process."""


@contextmanager
def small_disk(folder: Path, megabytes: int, pid: Callable[[], int]) -> Iterator[Disk]:
    """`folder` on a disk that can be filled; `pid` tells who writes to it."""
    folder.mkdir(parents=True)
    if os.geteuid() != 0 or not _mounted(folder, megabytes):
        yield FileSizeLimit(pid)
        return
    try:
        yield SmallFileSystem(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _mounted(folder: Path, megabytes: int) -> bool:
    """Whether it worked: a container may forbid it to root, too."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "seine-test", str(folder)]
    return subprocess.run(command, capture_output=True).returncode == 0

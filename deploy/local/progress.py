"""How far a download is: a bar on a terminal, plain lines elsewhere, nothing in a program."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
from rich.progress import Progress as RichProgress


class Progress:
    """What a download reports, from several threads at once."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        pass

    def begin(self, files: int) -> None:
        """`files` are missing and will be fetched."""

    def expect(self, size: int) -> None:
        """`size` more bytes will come."""

    def advance(self, size: int) -> None:
        """`size` bytes came."""

    def finished(self, name: str) -> None:
        """The file `name` is complete and its sha256 is right."""

    def say(self, line: str) -> None:
        """Something worth a line happened."""


class QuietProgress(Progress):
    """Says nothing."""


class LineProgress(Progress):
    """A line at every tenth of the files, for logs and CI."""

    def __init__(self, console: Console):
        self.console = console
        self.lock = threading.Lock()
        self.files = self.done = self.size = 0

    def begin(self, files: int) -> None:
        self.files = files
        self.say(f"fetching {files} files")

    def advance(self, size: int) -> None:
        with self.lock:
            self.size += size

    def finished(self, name: str) -> None:
        with self.lock:
            self.done += 1
            if self.done * 10 // self.files > (self.done - 1) * 10 // self.files:
                self.say(f"fetched {self.done} of {self.files} files, {self.size / 1e6:.0f} MB")

    def say(self, line: str) -> None:
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)


class BarProgress(Progress):
    """One bar over all files, in bytes."""

    def __init__(self, console: Console):
        self.console = console
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        self.bar = RichProgress(*columns, console=console)
        self.task = self.bar.add_task("fetching", total=None, visible=False)
        self.lock = threading.Lock()
        self.files = self.done = self.total = 0

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.bar.stop()

    def begin(self, files: int) -> None:
        self.files = files
        self.bar.update(self.task, visible=True)

    def expect(self, size: int) -> None:
        with self.lock:
            self.total += size
            self.bar.update(self.task, total=self.total)

    def advance(self, size: int) -> None:
        self.bar.advance(self.task, size)

    def finished(self, name: str) -> None:
        with self.lock:
            self.done += 1
            self.bar.update(self.task, description=f"fetching {self.done}/{self.files}")

    def say(self, line: str) -> None:
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)


def progress_for(console: Console) -> Progress:
    """A bar where a person looks on, lines where a log is kept."""
    return BarProgress(console) if console.is_terminal else LineProgress(console)

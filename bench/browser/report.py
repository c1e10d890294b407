"""What a side's process is given and says: by environment variables and files, as its command line is not its own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from time import monotonic


class Report:
    """When the first page was asked for, and when each was there."""

    def __init__(self, environment: Mapping[str, str]):
        self.at_once = int(environment["BENCH_AT_ONCE"])
        self._urls = Path(environment["BENCH_URLS"])
        self._file = Path(environment["BENCH_REPORT"])
        self._asked_at = 0.0
        self._done_at: list[float] = []

    def urls(self) -> Iterator[str]:
        self._asked_at = monotonic()
        yield from self._urls.read_text().split()

    def done(self, page: str) -> None:
        """Its scripts must have run to their end."""
        if "9.90" in page and "data-ready" in page:
            self._done_at.append(monotonic())

    def write(self) -> None:
        self._file.write_text(json.dumps({"asked_at": self._asked_at, "done_at": self._done_at}))

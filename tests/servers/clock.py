"""A wall clock that a test sets, for the processes that are started with its `env`; monotonic clocks stay real.

C11's waits stay real too: a thread that waits by them while the clock is ahead oversleeps, as one does on a real clock
that is set back, and one that waits while it is behind does not wait at all. So this clock is never set behind.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

_FOLDERS = ("/usr/lib", "/usr/local/lib", "/opt/homebrew/lib")
_LIBRARY = "libfaketimeMT.so.1"


class FakeClock:
    """libfaketime's. `file` says how far the clock is off, and is read again at every look at it."""

    def __init__(self, file: Path):
        self._file = file
        self.jump(timedelta(0))

    @property
    def env(self) -> dict[str, str]:
        """What a process needs to see this clock."""
        return {
            "LD_PRELOAD": str(_library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def jump(self, off: timedelta) -> None:
        """From now on the clock differs from the real one by `off`."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{off.total_seconds():+.0f}s\n")
        new.replace(self._file)


def _library() -> Path:
    for folder in map(Path, _FOLDERS):
        for found in (folder / "faketime" / _LIBRARY, *folder.glob(f"*/faketime/{_LIBRARY}")):
            if found.exists():
                return found
    raise AssertionError(f"no {_LIBRARY}: install Debian's package libfaketime, as .ci/run does")

"""The private folder of a worker's browsers, gone when the worker is: also when it was killed."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

from crawlers.exceptions import UserError

_PREFIX = "seine-browser-"
_LONGEST_PARENT = 32
"""Bytes of a path below which Chromium can still make its socket: that of a socket has 107 at most."""
_GUARDIAN = """trap '' TERM INT HUP
while read -r line; do groups=$line; done
[ -z "$groups" ] || kill -s KILL -- $groups
rm -rf -- "$1"
"""


def parent_of(configured: str | None) -> str:
    """Where private folders are made: BROWSER_TMP_DIR, or the system's. Raises UserError where none can be."""
    parent = configured or tempfile.gettempdir()
    if len(os.fsencode(parent)) > _LONGEST_PARENT:
        raise UserError(f"BROWSER_TMP_DIR={parent}: expected at most {_LONGEST_PARENT} bytes: it holds sockets")
    if not (os.path.isdir(parent) and os.access(parent, os.W_OK | os.X_OK)):
        raise UserError(f"BROWSER_TMP_DIR={parent}: expected a folder that can be written to")
    return parent


class PrivateFolder:
    """A folder that nobody else may read, and a guardian: a shell that outlives this process by a moment.

    When this process ends, however that comes, the guardian kills the process groups it was told of, and removes the
    folder. What a dead machine left is removed by the next worker that starts there.
    """

    def __init__(self, parent: str | None = None):
        parent = parent_of(parent)
        _remove_abandoned(Path(parent))
        unlocked = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}", dir=parent))
        self._lock = (unlocked / "lock").open("wb")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.path = unlocked.rename(unlocked.with_name(unlocked.name[1:]))
        self._groups: set[int] = set()
        self._guardian = self._start_guardian()

    def guard(self, group: int) -> None:
        """Have the process group killed when this process is gone. Raises OSError."""
        self._groups.add(group)
        self._tell()

    def release(self, group: int) -> None:
        """It has ended."""
        self._groups.discard(group)
        with suppress(OSError):
            self._tell()

    def remove(self) -> None:
        """End the guardian, which does what it is there for: kill what still runs, and remove the folder."""
        self._guardian.communicate()
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()

    def _start_guardian(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["/bin/sh", "-c", _GUARDIAN, "guardian", str(self.path)],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PATH": os.defpath},
            start_new_session=True,
        )

    def _tell(self) -> None:
        """Tell the guardian of all groups: another one where it was killed."""
        try:
            self._write_groups()
        except BrokenPipeError:
            self._guardian.communicate()
            self._guardian = self._start_guardian()
            self._write_groups()

    def _write_groups(self) -> None:
        assert self._guardian.stdin is not None
        self._guardian.stdin.write(" ".join(f"-{group}" for group in self._groups).encode() + b"\n")


def _remove_abandoned(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        try:
            with (folder / "lock").open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue  # its worker lives, or it is another user's

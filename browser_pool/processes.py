"""A browser's processes: started in a group and a folder of their own, and ended to the last of them."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import threading
from time import sleep
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from browser_pool.folder import PrivateFolder

_PR_SET_CHILD_SUBREAPER = 36
_INTERVAL = 0.02
_LOOKS = 250
"""Looks at what was killed, until the rest is given up as the kernel's to end."""


def adopt_orphans() -> None:
    """Make this process the parent of what its children leave behind, as the first process of a container may reap
    nothing."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class ProcessTree:
    """A command with all that it starts. It gets none of this process's environment: that has secrets.

    Raises OSError where it cannot be started; nothing runs then.
    """

    def __init__(self, command: Sequence[str], folder: Path, home: PrivateFolder):
        adopt_orphans()
        env = {"PATH": os.defpath, "HOME": str(folder), "TMPDIR": str(folder), "LANG": "C.UTF-8"}
        with (folder / "log").open("wb") as log:
            self._leader = subprocess.Popen(
                command,
                cwd=folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.group = self._leader.pid
        self._home = home
        try:
            home.guard(self.group)
        except BaseException:
            os.killpg(self.group, signal.SIGKILL)
            self._leader.wait()
            raise
        self._folder = folder
        self._log = folder / "log"
        self._known: dict[int, psutil.Process] = {}
        self._lock = threading.Lock()

    @property
    def has_ended(self) -> bool:
        """Whether the command itself has."""
        return self._leader.poll() is not None

    def last_words(self) -> str:
        """The end of what it wrote."""
        return self._log.read_text(errors="replace")[-500:].strip() if self._log.exists() else ""

    def processes(self) -> list[psutil.Process]:
        """Those that run; each is known from then on, whoever's child it becomes. Any thread may ask."""
        with self._lock:
            with contextlib.suppress(psutil.NoSuchProcess):
                leader = psutil.Process(self.group)
                for process in (leader, *leader.children(recursive=True), *self._adopted()):
                    self._known.setdefault(process.pid, process)
            self._forget_ended()
            return list(self._known.values())

    def _forget_ended(self) -> None:
        self._known = {pid: process for pid, process in self._known.items() if process.is_running()}

    def _adopted(self) -> Iterator[psutil.Process]:
        """What has left its parent and its group, as crash reporters do, and names the folder."""
        for child in psutil.Process().children():
            with contextlib.suppress(psutil.Error):
                if any(str(self._folder) in part for part in child.cmdline()):
                    yield child

    async def kill(self) -> None:
        """End all of them, and leave no zombie: also where this call is cancelled."""
        await asyncio.to_thread(self._kill)
        self._home.release(self.group)

    def _kill(self) -> None:
        with contextlib.suppress(Exception):
            self.processes()
        for _ in range(_LOOKS):
            if not self._kill_rest():
                return
            sleep(_INTERVAL)

    def _kill_rest(self) -> bool:
        """Kill and reap what can be; whether something is left."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.group, signal.SIGKILL)
        with self._lock:
            for process in self._known.values():
                with contextlib.suppress(psutil.Error):
                    process.kill()  # psutil knows a pid that was given to another process
                    if process.status() == psutil.STATUS_ZOMBIE:
                        _reap(process.pid)
            self._leader.poll()
            while _reap(-self.group):
                pass
            self._forget_ended()
            return bool(self._known) or _has_members(self.group)


def _reap(pid: int) -> bool:
    """Take leave of a dead child, or of one of the group -pid; whether there was one."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return False


def _has_members(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True

"""A command with all that it starts: the CPU of every process until the last has ended, and their memory meanwhile."""

from __future__ import annotations

import os
import resource
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import psutil

from browser_pool.processes import adopt_orphans

_INTERVAL = 0.5
_PATIENCE = 5.0
_MIB = 1024 * 1024


@dataclass(slots=True)
class TreeUsage:
    cpu: float = 0.0
    """Seconds, user and system."""
    memory: list[tuple[float, float]] = field(default_factory=list)
    """(moment of the monotonic clock, MiB): proportional set sizes, so that shared memory counts once."""


class Tree:
    """Runs once. What its processes leave behind becomes this process's, so that its CPU counts too."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str], output: IO[bytes]):
        self._command = command
        self._options = {"cwd": folder, "env": environment, "stdout": output, "stderr": output}

    def run(self, *, watch: bool) -> TreeUsage:
        """Until all of it has ended; `watch` reads its memory twice a second."""
        adopt_orphans()
        usage, before = TreeUsage(), _cpu_of_the_ended()
        child = subprocess.Popen(self._command, **self._options)  # type: ignore[call-overload]
        try:
            while child.poll() is None:
                if watch:
                    usage.memory.append((time.monotonic(), _memory()))
                time.sleep(_INTERVAL)
        finally:
            child.kill()
            child.wait()
            _end_rest()
        usage.cpu = _cpu_of_the_ended() - before
        return usage


def _cpu_of_the_ended() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _memory() -> float:
    total = 0
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            total += process.memory_full_info().pss
    return total / _MIB


def _end_rest() -> None:
    """Wait for what the command left, and kill what does not end."""
    deadline = time.monotonic() + _PATIENCE
    while left := psutil.Process().children(recursive=True):
        for process in left if time.monotonic() > deadline else ():
            with suppress(psutil.Error):
                process.kill()
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.02)

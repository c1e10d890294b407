"""One detached process: started, recognised again by a later command, stopped, and its log kept."""

from __future__ import annotations

import json
import os
import subprocess
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

CLOCK_STEP = 2.0
"""Seconds by which the kernel's idea of a start time may move when the clock is set."""


@dataclass
class Daemon:
    """The process `name`, its pid file, its log and its working folder."""

    name: str
    command: Callable[[], list[str]]
    """Asked at each start."""
    cwd: Path
    pid_file: Path
    log_file: Path
    on_stopped: Callable[[bool], None] = field(default=lambda clean: None)
    """Told once it has been stopped, and whether it ended in its own time."""
    child: subprocess.Popen | None = field(default=None, init=False, repr=False)

    def start(self) -> None:
        """Start it in a session of its own, with a fresh log; the log before goes to NAME.log.1."""
        for folder in (self.cwd, self.pid_file.parent, self.log_file.parent):
            folder.mkdir(parents=True, exist_ok=True)
        if self.log_file.exists():
            os.replace(self.log_file, self.log_file.with_name(self.log_file.name + ".1"))
        with self.log_file.open("wb") as log:
            self.child = subprocess.Popen(
                self.command(),
                cwd=self.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._remember(psutil.Process(self.child.pid))

    def process(self) -> psutil.Process | None:
        """The running process that this pid file means, or None: a stale pid, or one that is another's by now."""
        if self.child is not None:
            self.child.poll()
        try:
            written = json.loads(self.pid_file.read_text())
            process = psutil.Process(written["pid"])
            same = abs(process.create_time() - written["create_time"]) < CLOCK_STEP
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except (OSError, ValueError, KeyError, TypeError, psutil.Error):
            return None

    def terminate(self) -> psutil.Process | None:
        """Ask it to end. Returns the process to wait for, or None if there is none."""
        process = self.process()
        if process is not None:
            try:
                process.terminate()
            except psutil.NoSuchProcess:
                return None
        return process

    def forget(self) -> None:
        """Remove the pid file of a process that has ended."""
        self.pid_file.unlink(missing_ok=True)

    def tail(self, lines: int) -> list[str]:
        """The last `lines` of its log."""
        try:
            with self.log_file.open(errors="replace") as log:
                return [line.rstrip("\n") for line in deque(log, lines)]
        except FileNotFoundError:
            return []

    def _remember(self, process: psutil.Process) -> None:
        try:
            written = {"pid": process.pid, "create_time": process.create_time()}
        except psutil.NoSuchProcess:
            return
        temporary = self.pid_file.with_name(self.pid_file.name + ".new")
        temporary.write_text(json.dumps(written))
        os.replace(temporary, self.pid_file)


def stop_all(daemons: list[Daemon], deadline: float) -> None:
    """SIGTERM to all at once, SIGKILL to those that are still there after `deadline` seconds."""
    processes = {daemon.name: process for daemon in daemons if (process := daemon.terminate())}
    _, alive = psutil.wait_procs(processes.values(), timeout=deadline)
    for process in alive:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(alive, timeout=deadline)
    for daemon in daemons:
        daemon.forget()
        daemon.on_stopped(daemon.name in processes and processes[daemon.name] not in alive)

"""What the stack knows about each of its services."""

from __future__ import annotations

import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from deploy.local.artifacts import LockedArtifact, locked_artifacts, maven_context
from deploy.local.class_archive import ClassArchive
from deploy.local.config import StackConfig
from deploy.local.daemon import Daemon
from deploy.local.errors import StartFailed

PROBE_TIMEOUT = 2.0
"""Seconds that one question to a service may take."""


class Service(ABC):
    """A server of the stack, run as one or more daemons. Ports, paths and contents come from the config alone."""

    name: ClassVar[str]
    jars: ClassVar[str | None] = None
    """The folder under jars/ whose lock lists what it runs, None for a native program."""

    def __init__(self, config: StackConfig):
        self.config = config
        self.ports = config.ports
        self.home = config.data_dir / self.name

    @property
    @abstractmethod
    def endpoint(self) -> dict[str, str]:
        """What `status` prints: the address under the name that clients of this service know."""

    @property
    @abstractmethod
    def environment(self) -> dict[str, str]:
        """The variables that point the spiders at it."""

    @property
    @abstractmethod
    def listens(self) -> dict[str, int]:
        """Every port it binds, by the setting that moves it."""

    @property
    @abstractmethod
    def daemons(self) -> list[Daemon]:
        """Its processes, in starting order."""

    @abstractmethod
    def prepare(self) -> None:
        """Write its configuration and, the first time, its empty store."""

    @abstractmethod
    def answers(self) -> bool:
        """Ask in its own protocol whether it serves. Any OSError counts as not yet."""

    def artifacts(self) -> list[LockedArtifact]:
        """The files it runs, in class path order."""
        if self.jars is None:
            return []
        return locked_artifacts(self.jars, maven_context(self.config.cache_dir / "maven"))

    def daemon(self, name: str, command: Callable[[], list[str]]) -> Daemon:
        """A process of this service with the stack's places for its pid and log."""
        return Daemon(
            name=name,
            command=command,
            cwd=self.home,
            pid_file=self.config.data_dir / "run" / f"{name}.json",
            log_file=self.config.data_dir / "logs" / f"{name}.log",
        )

    def java_daemon(self, name: str, command: Callable[[Sequence[str]], list[str]], jars: Sequence[Path]) -> Daemon:
        """A process that runs `jars`; `command` is given the JVM options that make it start fast."""
        archive = ClassArchive(self.config.cache_dir / "classes", name, jars, self.config.data_dir)
        daemon = self.daemon(name, lambda: command(archive.options()))
        daemon.on_stopped = archive.publish
        return daemon

    def run_once(self, what: str, argv: Sequence[str]) -> None:
        """Run a preparing command to its end; raise StartFailed with its output if it fails."""
        self.home.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            argv, cwd=self.home, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
        )
        if done.returncode:
            output = (done.stdout + done.stderr).splitlines()
            raise StartFailed(f"{self.name} could not {what}: exit code {done.returncode}", output[-10:])


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)

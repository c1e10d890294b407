"""The stack as a whole: what `scrapy stack` does."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from filelock import FileLock

from deploy.local.artifacts import fetch, maven_context
from deploy.local.config import StackConfig
from deploy.local.daemon import Daemon, stop_all
from deploy.local.errors import StackError, StartFailed
from deploy.local.hdfs import HdfsService
from deploy.local.kafka import KafkaService
from deploy.local.listening import require_free
from deploy.local.progress import Progress, QuietProgress
from deploy.local.redis import RedisService
from deploy.local.registry import RegistryService
from deploy.local.service import Service

SERVICES: tuple[type[Service], ...] = (RedisService, KafkaService, RegistryService, HdfsService)
START_DEADLINE = 120.0
STOP_DEADLINE = 30.0
"""Seconds before SIGKILL; ending takes 2, and 10 where class archives are written."""
POLL = 0.05
LOG_LINES = 10


class Stack:
    """The embedded services of one data folder. Every method may be called by several processes at once."""

    def __init__(self, config: StackConfig, kinds: Sequence[type[Service]] = SERVICES):
        self.config = config
        self.services: dict[str, Service] = {kind.name: kind(config) for kind in kinds}

    @staticmethod
    def service_names() -> list[str]:
        return [kind.name for kind in SERVICES]

    def up(self, services: Iterable[str] | None = None, progress: Progress | None = None) -> None:
        """Start what is not running and return when all of it serves. Raises StackError."""
        progress = progress or QuietProgress()
        with self._lock():
            missing = [service for service in self._named(services) if self._state(service) != "up"]
            for service in missing:
                # A daemon that is still there holds its own ports.
                if not any(daemon.process() for daemon in service.daemons):
                    require_free(service.name, service.listens)
            artifacts = [artifact for service in missing for artifact in service.artifacts()]
            fetch(artifacts, maven_context(self.config.cache_dir / "maven"), progress)
            self._start(missing, progress)

    def down(self, wipe: bool = False, services: Iterable[str] | None = None) -> None:
        """Stop the stack's own processes; with `wipe`, also remove what they stored and logged."""
        with self._lock():
            chosen = self._named(services)
            stop_all([daemon for service in chosen for daemon in service.daemons], STOP_DEADLINE)
            if wipe:
                for service in chosen:
                    _wipe(service)
                for folder in ("run", "logs"):
                    _remove_if_empty(self.config.data_dir / folder)

    def status(self) -> dict[str, dict[str, str]]:
        """Of each service: its address, and its state: up, starting (alive, but not serving) or down."""
        with ThreadPoolExecutor(len(self.services)) as pool:
            states = pool.map(self._state, self.services.values())
        named = zip(self.services.items(), states, strict=True)
        return {name: service.endpoint | {"state": state} for (name, service), state in named}

    def env(self) -> dict[str, str]:
        """The variables that point the spiders at the stack."""
        return {name: value for service in self.services.values() for name, value in service.environment.items()}

    def logs(self, name: str, lines: int = 200) -> list[str]:
        """The last lines that a service, or one process of it, wrote since it was last started."""
        daemons = {daemon.name: daemon for service in self.services.values() for daemon in service.daemons}
        chosen = [daemons[name]] if name in daemons else self._named([name])[0].daemons
        if len(chosen) == 1:
            return chosen[0].tail(lines)
        return [line for daemon in chosen for line in (f"==> {daemon.name} <==", *daemon.tail(lines))]

    def _start(self, services: list[Service], progress: Progress) -> None:
        if not services:
            return
        given_up = threading.Event()
        with ThreadPoolExecutor(len(services)) as pool:
            starts = [pool.submit(_bring_up, service, given_up, progress) for service in services]
            try:
                for start in as_completed(starts):
                    start.result()
            finally:
                # The others go on starting by themselves; the next `up` finds them.
                given_up.set()

    def _state(self, service: Service) -> str:
        alive = [daemon.process() is not None for daemon in service.daemons]
        if not any(alive):
            return "down"
        return "up" if all(alive) and _answers(service) else "starting"

    def _named(self, names: Iterable[str] | None) -> list[Service]:
        names = list(names or self.services)
        for name in names:
            if name not in self.services:
                raise StackError(f"no service {name}: expected {', '.join(self.services)}")
        return [self.services[name] for name in dict.fromkeys(names)]

    def _lock(self) -> FileLock:
        try:
            self.config.data_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StackError(f"STACK_DIR={self.config.data_dir}: {error.strerror}") from error
        return FileLock(self.config.data_dir / ".lock")


def _bring_up(service: Service, given_up: threading.Event, progress: Progress) -> None:
    started = time.monotonic()
    dead = [daemon for daemon in service.daemons if daemon.process() is None]
    if len(dead) == len(service.daemons):
        service.prepare()
    for daemon in dead:
        daemon.start()
    _await(service, given_up)
    if not given_up.is_set():
        progress.say(f"{service.name} is up after {time.monotonic() - started:.1f} s")


def _await(service: Service, given_up: threading.Event) -> None:
    """Return when the service serves. Raises StartFailed as soon as one of its processes ends, or at the deadline."""
    deadline = time.monotonic() + START_DEADLINE
    while not _answers(service):
        for daemon in service.daemons:
            if daemon.process() is None:
                raise _failure(daemon, "ended while it was starting")
        if time.monotonic() > deadline:
            raise _failure(service.daemons[0], f"did not answer within {START_DEADLINE:.0f} s")
        if given_up.wait(POLL):
            return


def _answers(service: Service) -> bool:
    try:
        return service.answers()
    except OSError:
        return False


def _failure(daemon: Daemon, what: str) -> StartFailed:
    return StartFailed(f"{daemon.name} {what}; see: scrapy stack logs {daemon.name}", daemon.tail(LOG_LINES))


def _wipe(service: Service) -> None:
    """Remove only what this service made: the data folder may be one that the user keeps other things in."""
    if service.home.exists():
        shutil.rmtree(service.home)
    for daemon in service.daemons:
        daemon.log_file.unlink(missing_ok=True)
        daemon.log_file.with_name(daemon.log_file.name + ".1").unlink(missing_ok=True)


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()

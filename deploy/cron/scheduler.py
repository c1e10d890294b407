"""Runs a crontab's entries when they are due, each as a process of its own, until it is told to stop."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import structlog

from deploy.cron.crontab import REBOOT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from deploy.cron.crontab import Entry

log = structlog.get_logger("seine.cron")

_ROOT = Path(__file__).parents[2]
_OWN_PORTS = {"STATUS_PORT": "9411-9459"}
"""Where runs serve their status: this process has the port that it was given."""
_LONGEST_WAIT = 20.0
"""Seconds between two looks at the clock, which may be set meanwhile."""
_SET_BACK = timedelta(hours=3)
"""What a clock must be set back by for runs to be planned anew: less may be the hour of a repaired clock."""


@dataclass(slots=True)
class Planned:
    """An entry and its moments."""

    entry: Entry
    next: datetime | None
    previous: datetime | None
    """When it was last due; None where the crontab is newer than that."""


class Scheduler:
    """Of `entries`, which count from `since`: what was due before they were written was not missed."""

    def __init__(
        self, entries: Sequence[Entry], since: datetime, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ):
        self._clock = clock
        self._now = clock()
        self.planned = [Planned(entry, entry.next_run(self._now), self._before(entry, since)) for entry in entries]
        self._runs: set[asyncio.Task[None]] = set()
        self._processes: set[asyncio.subprocess.Process] = set()
        self._stopping = asyncio.Event()
        self._looked_at = monotonic()

    def _before(self, entry: Entry, since: datetime) -> datetime | None:
        found = entry.previous_run(self._now)
        return found if found is not None and found >= since else None

    @property
    def healthy(self) -> bool:
        """Whether somebody looks at the clock."""
        return monotonic() - self._looked_at < 3 * _LONGEST_WAIT

    async def run(self) -> None:
        """Until `stop`; returns when the runs have ended too."""
        for planned in self.planned:
            if planned.entry.when == REBOOT:
                self._start(planned.entry)
        while not self._stopping.is_set():
            self.look()
            upcoming = [planned.next for planned in self.planned if planned.next is not None]
            wait = min([(moment - self._clock()).total_seconds() for moment in upcoming], default=_LONGEST_WAIT)
            try:
                await asyncio.wait_for(self._stopping.wait(), min(max(wait, 0.0), _LONGEST_WAIT))
            except TimeoutError:
                continue
        await self._end_runs()

    def look(self) -> list[str]:
        """Start what is due, once however often it was due since the last look; their names."""
        before, self._now, self._looked_at = self._now, self._clock(), monotonic()
        is_set_back = self._now < before - _SET_BACK
        started = []
        for planned in self.planned:
            if is_set_back:
                planned.next = planned.entry.next_run(self._now)
            if planned.next is not None and planned.next <= self._now:
                planned.previous, planned.next = planned.next, planned.entry.next_run(self._now)
                started.append(planned.entry.name)
                self._start(planned.entry)
        return started

    def stop(self) -> None:
        """Start nothing more, and tell what runs to end."""
        self._stopping.set()

    def _start(self, entry: Entry) -> None:
        task = asyncio.get_running_loop().create_task(self._run(entry))
        self._runs.add(task)
        task.add_done_callback(self._runs.discard)

    async def _run(self, entry: Entry) -> None:
        """In a session of its own: Ctrl-C at a terminal is for this process, which tells its children once."""
        environment = {**os.environ, **_OWN_PORTS, **entry.environment}
        log.info("schedule begins", schedule=entry.name, command=entry.command)
        process = await asyncio.create_subprocess_shell(
            f"exec env {entry.command}",  # in the shell's place, which would keep signals from it
            cwd=_ROOT,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        self._processes.add(process)
        if self._stopping.is_set():
            self._tell(process)
        code = await process.wait()
        self._processes.discard(process)
        log.log(20 if code == 0 else 40, "schedule ended", schedule=entry.name, exit_code=code)

    async def _end_runs(self) -> None:
        for process in tuple(self._processes):
            self._tell(process)
        if self._runs:
            log.info("waiting for runs to end", runs=len(self._runs))
            await asyncio.wait(self._runs)

    def _tell(self, process: asyncio.subprocess.Process) -> None:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)

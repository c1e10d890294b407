"""What every part is given."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from typing import Any

import psutil

from bench.frontier.server import Server
from bench.frontier.worker import Job

_QUIET = 20.0
"""Per cent of all cores that others may take."""
_LOOK = 0.5
"""Seconds of one look at them."""


@dataclass(frozen=True, slots=True)
class Bench:
    server: Server
    rounds: int
    full: bool
    """Whether what takes many minutes is measured too."""
    patience: float
    """Seconds that a measurement waits at most for a quiet machine."""
    worker_cpu: int | None
    """The CPU of a worker that runs alone; Redis has another."""

    def empty(self) -> Server:
        """The server without data, when the machine is quiet, or has not been for a while."""
        self.server.flush()
        deadline = time.monotonic() + self.patience
        while psutil.cpu_percent(_LOOK) > _QUIET and time.monotonic() < deadline:
            pass
        return self.server

    def job(self, side: str, graph: dict[str, int], **fields: Any) -> Job:
        """A crawl of `side` on an empty Redis."""
        self.empty()
        return Job(side, self.server.url, graph, cpu=self.worker_cpu, **fields)

    def say(self, text: str) -> None:
        """Progress, beside the table."""
        print(f"  {text}", file=sys.stderr, flush=True)


def two_cpus() -> tuple[int | None, int | None]:
    """(a worker's CPU, Redis's) where there are two to share out."""
    cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return (cpus[0], cpus[-1]) if len(cpus) > 1 else (None, None)

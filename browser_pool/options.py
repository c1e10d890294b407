"""The pool's limits, as settings give them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """Limits of one worker's browsers."""

    executable: str | None = None
    remote: str = ""
    """Where browsers are to be had; '' is this machine."""
    folder: str | None = None
    """Where the worker's private folder is made; None is the system's place for temporary files."""
    processes: int = 1
    pages: int = 4
    """At once, in a process."""
    page_uses: int = 20
    retire_pages: int = 1000
    retire_seconds: float = 3600.0
    retire_memory: int = 2048 * _MIB
    page_memory: int = 768 * _MIB
    launch_timeout: float = 30.0

    @classmethod
    def from_settings(cls, settings: Any) -> Self:
        return cls(
            executable=settings.get("BROWSER_EXECUTABLE"),
            remote=settings.get("BROWSER_REMOTE_URL") or "",
            folder=settings.get("BROWSER_TMP_DIR"),
            processes=settings.getint("BROWSER_PROCESSES"),
            pages=settings.getint("BROWSER_PAGES"),
            page_uses=settings.getint("BROWSER_PAGE_USES"),
            retire_pages=settings.getint("BROWSER_RETIRE_PAGES"),
            retire_seconds=settings.getfloat("BROWSER_RETIRE_SECONDS"),
            retire_memory=settings.getint("BROWSER_RETIRE_MEMORY") * _MIB,
            page_memory=settings.getint("BROWSER_PAGE_MEMORY") * _MIB,
            launch_timeout=settings.getfloat("BROWSER_LAUNCH_TIMEOUT"),
        )

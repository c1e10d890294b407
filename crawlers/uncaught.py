"""Exceptions that nobody caught, in the log instead of as bare text on stderr, where nothing masks them."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

import structlog
from twisted.logger import globalLogBeginner

if TYPE_CHECKING:
    from collections.abc import Callable

log = structlog.get_logger("seine.process")

_twisted_has_begun = False


def log_them(file: str, shown: Callable[[str], str]) -> None:
    """From now on: of the program, of threads, of what has no caller, and what Twisted logs as critical.

    Where the log goes to a `file`, stderr gets one line, `shown`, so that nobody looks at an empty terminal.
    """
    _begin_twisted()

    def of_program(kind: type[BaseException], error: BaseException, traceback: Any) -> None:
        if not issubclass(kind, Exception):
            sys.__excepthook__(kind, error, traceback)
            return
        log.critical("uncaught exception", exc_info=(kind, error, traceback))
        if file:
            print(f"seine: {shown(f'{kind.__name__}: {error}')}: see {file}", file=sys.stderr)

    def of_thread(told: threading.ExceptHookArgs) -> None:
        if told.exc_type is not SystemExit and told.exc_value is not None:
            about = {"thread": told.thread.name} if told.thread is not None else {}
            log.critical("uncaught exception", exc_info=(told.exc_type, told.exc_value, told.exc_traceback), **about)

    def of_nobody(told: Any) -> None:
        exc_info = (told.exc_type, told.exc_value or told.exc_type(), told.exc_traceback)
        log.error("exception ignored", where=repr(told.object), exc_info=exc_info)

    sys.excepthook, threading.excepthook, sys.unraisablehook = of_program, of_thread, of_nobody


def _begin_twisted() -> None:
    """Until its logging has begun, Twisted writes what is critical to stderr itself, beside Scrapy's observer."""
    global _twisted_has_begun
    if not _twisted_has_begun:
        _twisted_has_begun = True
        globalLogBeginner.beginLoggingTo([], discardBuffer=True, redirectStandardIO=False)

"""Scrapy's timers, on the monotonic clock."""

from __future__ import annotations

from time import monotonic

from twisted.internet.base import ReactorBase


def keep_monotonic_time() -> None:
    """Twisted's reactors take the wall clock's: one that is set ahead times every download out, and one that is set
    back holds what is due in a moment up for as long as it was ahead.
    """
    ReactorBase.seconds = staticmethod(monotonic)

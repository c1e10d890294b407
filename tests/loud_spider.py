"""A spider in whose crawl everybody has something to say, a password too."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import warnings
from collections.abc import AsyncIterator
from typing import Any

from scrapy import Request, Spider
from scrapy.statscollectors import MemoryStatsCollector
from twisted.python import failure
from twisted.python import log as twisted_log

_SECRET = "hunter2-hunter2"


class LoudSpider(Spider):
    """Requests nothing."""

    name = "loud_spider"
    crawl_id = "loud"

    async def start(self) -> AsyncIterator[Request]:
        warnings.warn(f"a warning {_SECRET}", stacklevel=1)
        logging.getLogger("somebody.else").warning("a logger's %s", _SECRET)
        twisted_log.err(failure.Failure(ValueError(_SECRET)), "Twisted's error")
        thread = threading.Thread(target=_fail, args=["a thread's"])
        thread.start()
        thread.join()
        _Nobody()
        task = asyncio.ensure_future(_fail_later())
        await asyncio.wait([task])
        del task
        gc.collect()
        for request in ():
            yield request


class Broken(MemoryStatsCollector):
    """Ends the program."""

    def __init__(self, *_: Any) -> None:
        raise RuntimeError(f"no stats: {_SECRET}")


class _Nobody:
    def __del__(self) -> None:
        _fail("nobody's")


def _fail(whose: str) -> None:
    raise ValueError(f"{whose} exception: {_SECRET}")


async def _fail_later() -> None:
    _fail("a task's")

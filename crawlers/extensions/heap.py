"""Garbage collections that do not stop the worker."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Self

from scrapy import signals

if TYPE_CHECKING:
    from scrapy.crawler import Crawler


class FrozenHeap:
    """Takes what a worker is made of, some 120,000 objects, out of what each full collection looks through.

    It took 60 ms, in which no page, no lease and no delivery report moves.
    """

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        extension = cls()
        crawler.signals.connect(extension.freeze, signal=signals.engine_started)
        return extension

    def freeze(self) -> None:
        """What is there now stays."""
        gc.collect()
        gc.freeze()

"""The one pool of a crawler's process: both schemes' handlers use it, and what starts it ahead of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakKeyDictionary

from browser_pool.backends import backend_of
from browser_pool.egress import Egress
from browser_pool.options import PoolOptions
from browser_pool.pool import BrowserPool
from crawlers.fetching.policy import AddressPolicy
from crawlers.remote_browsers import Listening

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

_PARTS = 4
"""What a part of a page, as a film, may have on its way, in sizes of the largest document."""


class SharedPool:
    """The pool of a crawler's process, made when the first page needs it."""

    _pools: ClassVar[WeakKeyDictionary[Crawler, BrowserPool]] = WeakKeyDictionary()

    @classmethod
    def of(cls, crawler: Crawler) -> BrowserPool:
        """Raises UserError where there is no browser."""
        if crawler not in cls._pools:
            settings: Any = crawler.settings
            egress = Egress(
                AddressPolicy.of(crawler).rules_of,
                listening=Listening.from_settings(settings),
                largest_answer=_PARTS * settings.getint("DOWNLOAD_MAXSIZE"),
            )
            pool = BrowserPool(backend_of(settings), PoolOptions.from_settings(settings), egress)
            pool.open()
            cls._pools[crawler] = pool
        return cls._pools[crawler]

    @classmethod
    def closing(cls, crawler: Crawler) -> BrowserPool | None:
        """The pool, once: the caller closes it."""
        return cls._pools.pop(crawler, None)

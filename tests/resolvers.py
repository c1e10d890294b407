"""Names that only a test knows; `-s TWISTED_DNS_RESOLVER=tests.resolvers.TableResolver` makes them resolve."""

from __future__ import annotations

import json
from typing import Any, Self

from scrapy.crawler import Crawler
from scrapy.resolver import CachingThreadedResolver
from twisted.internet.defer import Deferred, succeed


class TableResolver(CachingThreadedResolver):
    """Answers from TEST_NAMES, JSON of a name's addresses: one after the other, the last one for ever."""

    names: dict[str, list[str]]

    @classmethod
    def from_crawler(cls, crawler: Crawler, reactor: Any) -> Self:
        resolver = super().from_crawler(crawler, reactor)
        resolver.names = json.loads(crawler.settings["TEST_NAMES"])
        return resolver

    def getHostByName(self, name: str, timeout: Any = ()) -> Deferred[str]:
        if name not in self.names:
            return super().getHostByName(name, timeout)
        addresses = self.names[name]
        return succeed(addresses.pop(0) if len(addresses) > 1 else addresses[0])

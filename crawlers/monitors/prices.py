"""A sample of a site's prices, from crawl to crawl: the same products are in it as long as they are there."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Self

import msgpack

from crawlers.monitors.result import Prices
from crawlers.monitors.tally import MOST_SAMPLED

if TYPE_CHECKING:
    from crawlers.monitors.tally import Price, Tally

_MOST_UNREAD = 10
"""Crawls that a price is kept for without its page being read."""


@dataclass
class PriceSample:
    """Prices by the digests of their products, and for how many crawls they have not been read."""

    prices: dict[bytes, Price] = field(default_factory=dict)
    unread: dict[bytes, int] = field(default_factory=dict)

    @classmethod
    def unpack(cls, packed: bytes | None) -> Self:
        """What `pack` made; of None an empty one."""
        rows = msgpack.unpackb(packed, raw=False) if packed else []
        prices = {digest: (Decimal(amount), currency) for digest, amount, currency, _ in rows}
        return cls(prices, {digest: crawls for digest, _, _, crawls in rows})

    def pack(self) -> bytes:
        rows = [(digest, str(amount), of, self.unread[digest]) for digest, (amount, of) in self.prices.items()]
        packed: bytes = msgpack.packb(rows)
        return packed

    def after(self, tally: Tally) -> PriceSample:
        """The sample after a crawl; where that did not read every product, some prices are those of before."""
        prices, unread = dict(tally.prices), dict.fromkeys(tally.prices, 0)
        for digest, price in self.prices.items() if tally.unread else ():
            if digest not in prices and self.unread[digest] < _MOST_UNREAD:
                prices[digest], unread[digest] = price, self.unread[digest] + 1
        kept = sorted(prices)[:MOST_SAMPLED]
        return PriceSample({digest: prices[digest] for digest in kept}, {digest: unread[digest] for digest in kept})

    def facts(self, before: PriceSample, price_change: float) -> Prices:
        """What there is to see in it beside the sample of the crawl before."""
        if not self.prices:
            return Prices()
        [(currency, _)] = Counter(currency for _, currency in self.prices.values()).most_common(1)
        amounts = [float(amount) for amount, of in self.prices.values() if of == currency and amount > 0]
        read = [digest for digest, crawls in self.unread.items() if not crawls and digest in before.prices]
        both = [(before.prices[digest], self.prices[digest]) for digest in read]
        return Prices(
            known=len(self.prices),
            currency=currency,
            median=round(statistics.median(amounts), 4) if amounts else 0.0,
            compared=len(both),
            changed=sum(_has_changed(*pair, price_change) for pair in both),
            recoined=sum(was[1] != is_[1] for was, is_ in both),
        )


def _has_changed(was: Price, is_: Price, by: float) -> bool:
    """Whether a price has changed by more than a share of it. Another currency is another matter."""
    low, high = sorted((float(was[0]), float(is_[0])))
    return was[1] == is_[1] and high > low * (1 + by)

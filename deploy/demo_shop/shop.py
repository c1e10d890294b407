"""The shop's state: its catalogue, the prices of the moment, who asked for what."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation

from deploy.demo_shop.access_log import AccessLog
from deploy.demo_shop.catalog import Catalog, ShopProduct
from deploy.demo_shop.generate import build_catalog
from deploy.demo_shop.money import plain_price, visible_price


class Shop:
    def __init__(self) -> None:
        self.catalog: Catalog = build_catalog()
        self.bases: list[str] = []
        """One "http://host:port" per domain, known once the ports are bound."""
        self.log = AccessLog()
        self.asks: Counter[str] = Counter()
        """How often each trouble page that changes its mind was asked for."""
        self.pages: dict[tuple[int, str, int], object] = {}
        """Rendered pages. Replaced, not emptied, so that a page in the making cannot bring an old price back."""
        self._prices: dict[str, Decimal] = {}
        self._changed: dict[tuple[int, str, int], tuple[str, int]] = {}
        """Of each page that was asked for: its ETag, and the second since when it has it."""

    def url(self, product: ShopProduct) -> str:
        return self.bases[product.locale.number] + product.path

    def price(self, product: ShopProduct) -> Decimal:
        return self._prices.get(product.sku, product.price)

    def plain_price(self, product: ShopProduct, surcharge: Decimal = Decimal(0)) -> str:
        return plain_price(self.price(product) + surcharge, product.locale.currency)

    def visible_price(self, product: ShopProduct, surcharge: Decimal = Decimal(0)) -> str:
        return visible_price(self.price(product) + surcharge, product.locale.locale)

    def set_prices(self, prices: Mapping[str, str]) -> None:
        """All or none. Raises ValueError naming what is unknown or no price."""
        changes = {sku: self._checked_price(sku, price) for sku, price in prices.items()}
        self._prices = self._prices | changes
        self.pages = {}

    def _checked_price(self, sku: str, text: str) -> Decimal:
        if sku not in self.catalog.by_sku:
            raise ValueError(f"no product has the sku {sku!r}")
        try:
            price = Decimal(str(text))
        except InvalidOperation:
            raise ValueError(f"the price of {sku} is no decimal: {text!r}") from None
        if not price.is_finite() or price < 0:
            raise ValueError(f"the price of {sku} is no price: {text!r}")
        return price

    def remove(self, skus: Iterable[str]) -> None:
        """The shop no longer sells these: their pages are 404, and nothing links to them. All or none; ValueError."""
        wanted = list(skus)
        if unknown := [sku for sku in wanted if sku not in self.catalog.by_sku]:
            raise ValueError(f"no product has the sku {unknown[0]!r}")
        for sku in wanted:
            self.catalog.domains[self.catalog.by_sku[sku].locale.number].removed.add(sku)
        self.pages = {}

    def is_sold(self, product: ShopProduct) -> bool:
        """Whether it was not removed."""
        return product.sku not in self.catalog.domains[product.locale.number].removed

    def modified(self, page: tuple[int, str, int], etag: str) -> int:
        """Since when, in seconds since the epoch, the page has had that ETag; from now on where it is new."""
        known = self._changed.get(page)
        if known is None or known[0] != etag:
            known = self._changed[page] = (etag, int(time.time()))
        return known[1]

    def reset(self) -> None:
        """As it was at the start: products, prices, log, and the trouble pages' counts."""
        for domain in self.catalog.domains:
            domain.removed.clear()
        self._prices = {}
        self.pages = {}
        self.asks.clear()
        self.log.clear()

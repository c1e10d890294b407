"""Pages that go wrong on purpose, each under /trouble/, listed by /trouble/."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from deploy.demo_shop.catalog import DomainCatalog
from deploy.demo_shop.shop import Shop


@dataclass(frozen=True, slots=True)
class Ask:
    """One request for a trouble page."""

    shop: Shop
    domain: DomainCatalog
    request: web.BaseRequest

    def number(self, name: str, default: float) -> float:
        return float(self.request.query.get(name, default))

    def whole(self, name: str, default: int) -> int:
        return int(self.request.query.get(name, default))

    def count(self) -> int:
        """How often this very address was asked for since the last reset, this time included."""
        key = f"{self.domain.locale.number}{self.request.path_qs}"
        self.shop.asks[key] += 1
        return self.shop.asks[key]


Handler = Callable[[Ask], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Trouble:
    handler: Handler
    what: str
    """What happens, and the query parameters with their defaults."""

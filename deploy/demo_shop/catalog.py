"""The shop's products as data: what they are, before any page shows them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from urllib.parse import quote

from deploy.demo_shop.locales import Category, Locale

SCROLL_FIRST = 8
"""Products of a scroll page that its plain HTML holds; the rest is fetched by its script."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """Another seller's offer of a product. Never cheaper than the shop's own price."""

    seller: str
    surcharge: Decimal
    availability: str


@dataclass(frozen=True, kw_only=True, eq=False)
class ShopProduct:
    sku: str
    name: str
    locale: Locale
    category: Category
    index: int
    """Its place within the domain; varies the details of its markup."""
    markup: str
    price: Decimal
    availability: str
    description: str
    material: str
    weight: int
    image_count: int
    brand: str | None
    mpn: str | None
    gtin: str | None
    condition: str | None
    rating: float | None
    """Out of 5."""
    rating_scale: int
    """What the page states as best rating: 5, 10 or 100."""
    review_count: int | None
    offers: tuple[Offer, ...] = ()
    group: str | None = None
    """The id of its variant group."""
    group_name: str | None = None
    color: str | None = None
    size: str | None = None
    orphan: bool = False
    place: int = 0
    """Its place within the category."""

    @cached_property
    def path(self) -> str:
        """Percent-encoded, as a browser sends it."""
        slug = re.sub(r"\W+", "-", f"{self.name} {self.sku}".lower())
        return f"{self.category.prefix}/p/{quote(slug)}"

    @property
    def images(self) -> list[str]:
        return [f"/img/{self.sku}-{n}.svg" for n in range(1, self.image_count + 1)]

    @property
    def best_availability(self) -> str:
        """In stock if any seller has it."""
        in_stock = any(offer.availability == "InStock" for offer in self.offers)
        return "InStock" if in_stock else self.availability

    @property
    def lists_in_category(self) -> bool:
        """A group's first variant stands for the group, and an orphan is linked from nowhere."""
        return not self.orphan and (self.group is None or self.sku.endswith("-1"))

    @property
    def reachable(self) -> bool:
        """By plain HTTP, from the seeds and sitemaps, obeying robots.txt."""
        section = self.category.section
        return section == "catalog" or (section == "scroll" and self.place < SCROLL_FIRST)


class DomainCatalog:
    """One domain's products and the ways to them."""

    def __init__(self, locale: Locale, products: list[ShopProduct]) -> None:
        self.locale = locale
        self.products = products
        self.by_path = {product.path: product for product in products}
        self.by_category: dict[str, list[ShopProduct]] = {c.slug: [] for c in locale.categories}
        self.removed: set[str] = set()
        """Skus of products that the shop no longer sells: their pages are gone, and nothing links to them."""
        self.groups: dict[str, list[ShopProduct]] = {}
        for product in products:
            self.by_category[product.category.slug].append(product)
            if product.group:
                self.groups.setdefault(product.group, []).append(product)

    @cached_property
    def listed(self) -> list[ShopProduct]:
        """What home pages and related lists may point to."""
        return [p for p in self.products if p.category.section == "catalog" and p.lists_in_category]

    def related(self, product: ShopProduct, count: int = 6) -> list[ShopProduct]:
        """Neighbours in the catalogue; in a private or scripted section, still only open products."""
        start = product.index * 7 + 3
        picked = [self.listed[(start + step * 5) % len(self.listed)] for step in range(count)]
        return [other for other in self.sold(list(dict.fromkeys(picked))) if other.sku != product.sku]

    def variants(self, product: ShopProduct) -> list[ShopProduct]:
        """The products of its group."""
        return self.sold(self.groups[product.group or ""])

    def sold(self, products: list[ShopProduct]) -> list[ShopProduct]:
        """Those of `products` that were not removed."""
        return [product for product in products if product.sku not in self.removed] if self.removed else products


class Catalog:
    def __init__(self, domains: list[DomainCatalog]) -> None:
        self.domains = domains
        self.by_sku = {product.sku: product for product in self}

    def __iter__(self) -> Iterator[ShopProduct]:
        for domain in self.domains:
            yield from domain.products

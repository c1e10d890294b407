"""One TOML file of words, categories and habits per domain of the shop."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

LOCALES = ("en-US", "de-DE", "ja-JP", "fr-CH")
"""In the order of the ports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    slug: str
    name: str
    department: str
    count: int
    prices: tuple[int, int]
    nouns: tuple[str, ...]
    materials: tuple[str, ...]
    section: str = "catalog"
    """catalog, js, scroll or private."""
    variants: bool = False

    @property
    def prefix(self) -> str:
        """What the addresses of its section begin with."""
        return "" if self.section == "catalog" else f"/{self.section}"

    @property
    def path(self) -> str:
        return f"{self.prefix}/c/{self.slug}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Locale:
    locale: str
    currency: str
    title: str
    tagline: str
    sku_prefix: str
    accent: str
    series: list[str]
    brands: list[str]
    colors: list[list[str]]
    """Pairs of slug and name."""
    sizes: list[str]
    sentences: list[str]
    reviews: list[str]
    service: list[str]
    ui: dict[str, str]
    availability: dict[str, str]
    condition: dict[str, str]
    departments: dict[str, str]
    """Slug to name."""
    categories: list[Category]
    charset: str = "utf-8"
    declared_charset: str = "utf-8"
    charset_in_header: bool = True
    gzip: bool = False
    crawl_delay: float = 0.0
    orphans: int = 0
    """Products that no page links to: only the sitemap names them."""
    number: int = field(default=0)
    """The domain's place among the ports."""


def load_locale(name: str) -> Locale:
    raw = tomllib.loads(resources.files(__package__).joinpath(f"{name}.toml").read_text("utf-8"))
    departments = raw.pop("departments")
    return Locale(
        **raw,
        number=LOCALES.index(name),
        departments={department["slug"]: department["name"] for department in departments},
        categories=[_category(entry, dep["slug"]) for dep in departments for entry in dep["categories"]],
    )


def _category(entry: dict[str, Any], department: str) -> Category:
    lists = {key: tuple(entry.pop(key)) for key in ("prices", "nouns", "materials")}
    return Category(**entry, **lists, department=department)

"""A site's own rules for what is a wall there: its TOML's [bans]."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from crawlers.bans.detecting import Wall
from crawlers.bans.signatures import BAN, SOFT_BAN

if TYPE_CHECKING:
    from crawlers.site_config import Site


class SiteWalls:
    """Compiled once per site."""

    def __init__(self, site: Site):
        rules = site.bans
        self.is_on = rules.detect
        self._site = site
        self._statuses = frozenset(rules.statuses)
        self._titles = [re.compile(pattern) for pattern in rules.titles]
        self._texts = [(text, text.encode()) for text in rules.texts]
        self._expected = re.compile(rules.products_have.encode()) if rules.products_have else None

    def find(self, url: str, status: int, body: bytes, title: str) -> Wall | None:
        """The wall that an answer of this site is by its own rules."""
        kind = BAN if status >= 400 else SOFT_BAN
        if status in self._statuses:
            return Wall(kind, "", f"http {status}")
        if any(pattern.search(title) for pattern in self._titles):
            return Wall(kind, "", f"title: {title}")
        for text, encoded in self._texts:
            if encoded in body:
                return Wall(kind, "", text)
        is_product = self._expected is not None and status == 200 and self._shows_product(url)
        if is_product and not self._expected.search(body):  # type: ignore[union-attr]
            return Wall(SOFT_BAN, "", "products_have")
        return None

    def _shows_product(self, url: str) -> bool:
        return bool(self._site.product.allow) and self._site.product.match(url)

"""Which page answers which address of a domain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from urllib.parse import parse_qs

from deploy.demo_shop.answers import Answer, html_answer, json_answer
from deploy.demo_shop.catalog import DomainCatalog, ShopProduct
from deploy.demo_shop.locales import Category
from deploy.demo_shop.pages import listing, scripted, small
from deploy.demo_shop.pages.product import product_page
from deploy.demo_shop.shop import Shop
from deploy.demo_shop.site_files import SITEMAPS, robots_txt, sitemap_index

Maker = Callable[[int], Answer | None]
"""Makes the answer for a page number or an offset; None where there is no such page."""


class Routes:
    def __init__(self, shop: Shop, domain: DomainCatalog) -> None:
        self._shop = shop
        self._domain = domain
        self._locale = domain.locale
        self._makers: dict[str, Maker] = {**self._site_files(), **self._small_pages()}
        for product in domain.products:
            self._add_product(product)
        for category in domain.locale.categories:
            self._add_category(category)

    def answer(self, path: str, query: str) -> Answer:
        """Tracking parameters change nothing: the page is the same, and so are its bytes."""
        number = _number(query) if query else 0
        pages = self._shop.pages
        key = (self._locale.number, path, number)
        answer = pages.get(key)
        if answer is None:
            answer = self._make(path, number)
            if answer is None:
                return html_answer(self._locale, small.not_found_page(self._locale), 404)
            answer = replace(answer, modified=self._shop.modified(key, answer.etag))
            pages[key] = answer
        return answer

    def _make(self, path: str, number: int) -> Answer | None:
        product = self._domain.by_path.get(path)
        if product is not None and not self._shop.is_sold(product):
            return None
        maker = self._makers.get(path)
        return maker(number) if maker else self._picture(path)

    def _site_files(self) -> dict[str, Maker]:
        shop, domain = self._shop, self._domain
        files: dict[str, Maker] = {
            "/robots.txt": lambda _: Answer(robots_txt(shop, domain).encode(), "text/plain; charset=utf-8"),
            "/favicon.ico": lambda _: Answer(small.picture(self._locale.title).encode(), "image/svg+xml"),
            "/sitemap.xml": lambda _: Answer(sitemap_index(shop, domain), "application/xml"),
        }
        for path, make in SITEMAPS.items():
            kind = "application/gzip" if path.endswith(".gz") else "application/xml"
            files[path] = lambda _, make=make, kind=kind: Answer(make(shop, domain), kind)
        return files

    def _small_pages(self) -> dict[str, Maker]:
        shop, domain = self._shop, self._domain
        pages = {
            "/": lambda _: self._html(listing.home_page(shop, domain)),
            "/about": lambda _: self._html(small.about_page(self._locale)),
            "/cart": lambda _: self._html(small.cart_page(self._locale)),
        }
        for slug in self._locale.departments:
            pages[f"/c/{slug}"] = lambda _, slug=slug: self._html(listing.department_page(shop, domain, slug))
        return pages

    def _add_product(self, product: ShopProduct) -> None:
        shop, domain = self._shop, self._domain
        if product.category.section == "js":
            data_path = scripted.js_product_data_path(product)
            self._makers[product.path] = lambda _: self._html(scripted.js_shell(domain, data_path))
            self._makers[data_path] = lambda _: json_answer(scripted.js_product_data(shop, product))
        else:
            self._makers[product.path] = lambda _: self._html(product_page(shop, product))

    def _add_category(self, category: Category) -> None:
        shop, domain, makers = self._shop, self._domain, self._makers
        if category.section == "js":
            data_path = scripted.js_data_path(category)
            makers[category.path] = lambda _: self._html(scripted.js_shell(domain, data_path))
            makers[data_path] = lambda _: json_answer(scripted.js_category_data(shop, domain, category))
        elif category.section == "scroll":
            data_path = scripted.scroll_data_path(category)
            makers[category.path] = lambda _: self._html(scripted.scroll_page(shop, domain, category))
            makers[data_path] = lambda offset: json_answer(scripted.scroll_data(shop, domain, category, offset))
        else:
            makers[category.path] = lambda number: self._html(
                listing.category_page(shop, domain, category, number or 1)
            )

    def _picture(self, path: str) -> Answer | None:
        name = path.removeprefix("/img/").removesuffix(".svg")
        sku = name.rpartition("-")[0]
        known = path.startswith("/img/") and path.endswith(".svg") and sku in self._shop.catalog.by_sku
        return Answer(small.picture(name).encode(), "image/svg+xml") if known else None

    def _html(self, html: str | None) -> Answer | None:
        return html_answer(self._locale, html) if html is not None else None


def _number(query: str) -> int:
    """The page or offset that a query asks for; 0 where it asks for none, -1 where it is no number."""
    values = parse_qs(query)
    text = (values.get("page") or values.get("offset") or ["0"])[0]
    return int(text) if text.isascii() and text.isdigit() else -1

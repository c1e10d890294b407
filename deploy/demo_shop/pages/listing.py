"""Home, departments, categories with their pages."""

from __future__ import annotations

from html import escape

from deploy.demo_shop.catalog import DomainCatalog
from deploy.demo_shop.locales import Category, Locale
from deploy.demo_shop.pages.cards import card, cards
from deploy.demo_shop.pages.layout import canonical, page
from deploy.demo_shop.shop import Shop

PER_PAGE = 12
FEATURED = 8


def home_page(shop: Shop, domain: DomainCatalog) -> str:
    locale = domain.locale
    picked = domain.sold(domain.listed[:: len(domain.listed) // FEATURED][:FEATURED])
    campaign = "?utm_source=home&utm_medium=featured"
    featured = "".join(card(shop, product, source=campaign if n % 2 else "") for n, product in enumerate(picked))
    content = (
        f"<h1>{escape(locale.tagline)}</h1>\n{_tiles(locale, locale.categories)}\n"
        f'<h2>{escape(locale.ui["featured"])}</h2>\n<div class="grid">{featured}</div>'
    )
    return page(locale, title=locale.tagline, content=content, head=canonical(shop.bases[locale.number] + "/"))


def department_page(shop: Shop, domain: DomainCatalog, slug: str) -> str:
    locale = domain.locale
    categories = [category for category in locale.categories if category.department == slug]
    content = f"<h1>{escape(locale.departments[slug])}</h1>\n{_tiles(locale, categories)}"
    head = canonical(f"{shop.bases[locale.number]}/c/{slug}")
    return page(locale, title=locale.departments[slug], content=content, head=head)


def category_page(shop: Shop, domain: DomainCatalog, category: Category, number: int) -> str | None:
    """None where the category has no such page."""
    locale = domain.locale
    products = [p for p in domain.sold(domain.by_category[category.slug]) if p.lists_in_category]
    shown = products[(number - 1) * PER_PAGE : number * PER_PAGE]
    if not shown or number < 1:
        return None
    last = -(-len(products) // PER_PAGE)
    base = shop.bases[locale.number]
    head = canonical(base + _page_path(category, number))
    if number < last:
        head += f'<link rel="next" href="{base}{_page_path(category, number + 1)}">\n'
    content = (
        f'<nav class="crumbs"><a href="/">{escape(locale.ui["home"])}</a>'
        f'<a href="/c/{category.department}">{escape(locale.departments[category.department])}</a></nav>'
        f'<h1>{escape(category.name)}</h1>\n<div class="grid">{cards(shop, shown)}</div>\n'
        f"{_pager(locale, category, number, last)}"
    )
    return page(locale, title=category.name, content=content, head=head)


def _page_path(category: Category, number: int) -> str:
    return category.path if number == 1 else f"{category.path}?page={number}"


def _pager(locale: Locale, category: Category, number: int, last: int) -> str:
    ui = locale.ui
    previous = f'<a rel="prev" href="{_page_path(category, number - 1)}">‹ {ui["previous"]}</a>' if number > 1 else ""
    following = f'<a rel="next" href="{_page_path(category, number + 1)}">{ui["next"]} ›</a>' if number < last else ""
    return f'<nav class="pager">{previous}<span class="note">{ui["page"]} {number} / {last}</span>{following}</nav>'


def _tiles(locale: Locale, categories: list[Category]) -> str:
    tiles = "".join(
        f'<a class="card" href="{category.path}"><h3>{escape(category.name)}</h3>'
        f'<p class="note">{escape(locale.departments[category.department])}</p></a>\n'
        for category in categories
    )
    return f'<div class="grid">{tiles}</div>'

"""What every page has around its own content."""

from __future__ import annotations

from functools import cache
from html import escape

from deploy.demo_shop.locales import Locale
from deploy.demo_shop.pages.style import STYLE


def page(locale: Locale, *, title: str, content: str, head: str = "") -> str:
    return (
        f'<!doctype html>\n<html lang="{locale.locale}">\n<head>\n<meta charset="{locale.declared_charset}">\n'
        f"<title>{escape(title)} | {escape(locale.title)}</title>\n"
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n{head}{_style(locale.accent)}</head>\n'
        f"<body>\n{_header(locale)}\n<main>\n{content}\n</main>\n"
        f"{_footer(locale)}\n</body>\n</html>\n"
    )


def canonical(url: str) -> str:
    return f'<link rel="canonical" href="{url}">\n'


def encode(locale: Locale, html: str) -> bytes:
    return html.encode(locale.charset, "xmlcharrefreplace")


@cache
def _style(accent: str) -> str:
    return f"<style>{STYLE.replace('ACCENT', accent)}</style>\n"


@cache
def _header(locale: Locale) -> str:
    links = "".join(f'<a href="/c/{slug}">{escape(name)}</a>' for slug, name in locale.departments.items())
    return (
        f'<header><a class="logo" href="/">{escape(locale.title)}<small>{escape(locale.tagline)}</small></a>'
        f'<nav>{links}<a href="/about">{escape(locale.ui["about"])}</a>'
        f'<a href="/cart" rel="nofollow">{escape(locale.ui["cart"])}</a></nav></header>'
    )


@cache
def _footer(locale: Locale) -> str:
    closed = [category for category in locale.categories if category.section == "private"]
    members = "".join(f'<a href="{category.path}">{escape(locale.ui["members"])}</a>' for category in closed)
    return (
        f"<footer><p>{escape(locale.title)} – {escape(locale.tagline)}</p>"
        f'<p><a href="/about">{escape(locale.ui["about"])}</a>{members}'
        f'<a href="/trouble/" rel="nofollow">trouble</a></p></footer>'
    )

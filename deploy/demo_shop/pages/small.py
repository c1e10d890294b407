"""The few pages beside the shop's own business, and its pictures."""

from __future__ import annotations

from html import escape
from zlib import crc32

from deploy.demo_shop.locales import Locale
from deploy.demo_shop.pages.layout import page


def about_page(locale: Locale) -> str:
    paragraphs = "".join(f"<p>{escape(text)}</p>" for text in locale.service)
    return page(locale, title=locale.ui["about"], content=f"<h1>{escape(locale.ui['about'])}</h1>{paragraphs}")


def cart_page(locale: Locale) -> str:
    return page(locale, title=locale.ui["cart"], content=f"<h1>{escape(locale.ui['cart'])}</h1><p>0</p>")


def not_found_page(locale: Locale) -> str:
    content = f'<h1>404</h1><p><a href="/">{escape(locale.ui["home"])}</a></p>'
    return page(locale, title="404", content=content)


def picture(name: str) -> str:
    """A drawing whose colours and shape follow from its name."""
    seed = crc32(name.encode())
    hue, turn, size = seed % 360, seed // 360 % 90, 70 + seed % 60
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 320 240" width="640" height="480">'
        f'<rect width="320" height="240" fill="hsl({hue},32%,93%)"/>'
        f'<g transform="rotate({turn} 160 120)"><rect x="{160 - size // 2}" y="{120 - size // 2}" width="{size}" '
        f'height="{size}" rx="18" fill="hsl({hue},38%,52%)"/><circle cx="{160 + size // 2}" cy="120" r="{size // 3}" '
        f'fill="hsl({(hue + 40) % 360},45%,66%)"/></g></svg>\n'
    )

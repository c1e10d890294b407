"""The pattern of a URL: its kind of page, and one of the site's own patterns or a template of its path."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:
    from crawlers.site_config import Site

Kind = Literal["product", "page"]
_WORD = re.compile(r"[A-Za-z][A-Za-z_-]{0,19}").fullmatch
_SCRIPT = re.compile(r"[\w-]+\.(?:php|aspx?|jsp|cgi|do)").fullmatch
_WORDS_KEPT = 2
"""At the beginning of a path: deeper ones are names of categories, of which there are too many."""


def pattern_of(url: str, site: Site) -> str:
    """Such as "product /p/*": its kind, a blank, and what the URL is like."""
    own = next((pattern for pattern in site.browser.patterns if re.search(pattern, url)), None)
    return f"{kind_of(url, site)} {own or template_of(url)}"


def kind_of(url: str, site: Site) -> Kind:
    """`product` where the site says which URLs are products, and this is one."""
    return "product" if site.product.allow and site.product.match(url) else "page"


def is_pattern(text: str) -> bool:
    """Whether `text` may be a pattern."""
    kind, _, rest = text.partition(" ")
    return kind in ("product", "page") and bool(rest)


def template_of(url: str) -> str:
    """The path with `*` for what differs from page to page: its last part, numbers, names.

    Where the query alone tells pages apart, the names of its parameters are added.
    """
    parts = urlsplit(url)
    *folders, page = parts.path.strip("/").split("/")
    kept = [part if depth < _WORDS_KEPT and _WORD(part) else "*" for depth, part in enumerate(folders)]
    is_named = bool(page) and not _SCRIPT(page)
    path = "/" + "/".join([*kept, "*" if is_named else page])
    if is_named or not parts.query:
        return path
    names = sorted({name for name, _ in parse_qsl(parts.query, keep_blank_values=True)})
    return f"{path}?{'&'.join(names)}" if names else path

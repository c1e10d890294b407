"""The links of a page as absolute addresses. A shop's pages share most of theirs, so the joining is remembered."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urldefrag, urljoin, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

_REMEMBERED = 16_384


def absolute(base: str, hrefs: Iterable[str]) -> list[str]:
    """`hrefs` joined to the page's base address, without fragments, each once, in their order.

    What is no address at all, such as `http://[`, is left out.
    """
    parts = urlsplit(base)
    origin = f"{parts.scheme}://{parts.netloc}/"
    joined = (_joined(origin if _is_rooted(href) else base, href) for href in dict.fromkeys(hrefs))
    return [url for url in dict.fromkeys(joined) if url]


def _is_rooted(href: str) -> bool:
    """Whether the page's own path does not matter to `href`: the memory then serves all pages of the host."""
    return href.startswith("/") and not href.startswith("//")


@lru_cache(_REMEMBERED)
def _joined(base: str, href: str) -> str:
    try:
        return urldefrag(urljoin(base, href.strip())).url
    except ValueError:
        return ""

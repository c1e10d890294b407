"""Whether an answer is a wall. A small function of what came, for plain HTTP and browsers alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from crawlers.bans.signatures import BAN, ERRORS, HEADERS, PAGES, REFUSING, SOFT_BAN, TITLES, Signature

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scrapy.http import Headers

    from crawlers.bans.site_rules import SiteWalls

_SMALL = 32_768
"""Bytes of a page that may be a wall though its status is fine; walls are short."""
_MOST = 131_072
"""Bytes of an error that are looked at."""
_TITLE_WITHIN = 16_384
_LONGEST_TITLE = 160
_PAGES = tuple((one.text.encode(), one) for one in PAGES)
_ERRORS = tuple((one.text.encode(), one) for one in ERRORS)
_HEADERS: dict[bytes, list[Signature]] = {}
for _one in HEADERS:
    _HEADERS.setdefault(_one.header.title().encode(), []).append(_one)
_PRODUCT = (b"itemprop=", b"application/ld+json", b"og:type")


class Wall(NamedTuple):
    """What is shown instead of a page."""

    kind: str
    """One of signatures.KINDS."""
    vendor: str
    """Whose it is, as far as that shows."""
    sign: str
    """What gave it away."""


def find_wall(
    url: str, status: int, headers: Headers, body: bytes, statuses: frozenset[int], own: SiteWalls | None = None
) -> Wall | None:
    """The wall that an answer is. `statuses` mean one by themselves; `own` are the site's rules, asked first."""
    if own is not None and (wall := own.find(url, status, body, title_of(body))):
        return wall
    if status in statuses:
        return Wall(BAN, "", f"http {status}")
    if not _HEADERS.keys().isdisjoint(headers) and (wall := _of_headers(headers)):
        return wall
    if not body or (status < 400 and not 200 <= status < 300):
        return None
    wall = _of_page(status, body[:_MOST] if status >= 400 else body)
    return wall._replace(kind=SOFT_BAN) if wall is not None and wall.kind == BAN and status < 400 else wall


def _of_headers(headers: Headers) -> Wall | None:
    for name, signatures in _HEADERS.items():
        value = (headers.get(name) or b"").decode("latin-1").lower()
        for one in signatures if name in headers else ():
            if one.text in value:
                return Wall(one.kind, one.vendor, one.header)
    return None


def _of_page(status: int, body: bytes) -> Wall | None:
    title = title_of(body)
    kind = _kind_of_title(title) if title else None
    if kind is not None and status < 400 and any(sign in body for sign in _PRODUCT):
        kind = None  # a product of that name
    if status >= 400 or len(body) <= _SMALL:
        if wall := _first(_PAGES, body):
            return wall
        if (kind is not None or status in REFUSING) and (wall := _first(_ERRORS, body)):
            return wall
        if kind is not None:
            return Wall(kind, "", f"title: {title}")
    return None


def _first(signatures: Iterable[tuple[bytes, Signature]], body: bytes) -> Wall | None:
    for text, one in signatures:
        if text in body:
            return Wall(one.kind, one.vendor, one.text)
    return None


def title_of(body: bytes) -> str:
    """The page's title, as far as it stands near its beginning; '' where it has none."""
    begin = body.find(b"<title", 0, _TITLE_WITHIN)
    if begin < 0 and (begin := body.find(b"<TITLE", 0, _TITLE_WITHIN)) < 0:
        return ""
    begin = body.find(b">", begin) + 1
    end = body.find(b"</", begin, begin + _LONGEST_TITLE)
    return " ".join(body[begin:end].decode("utf-8", "replace").split()) if 0 < begin < end else ""


def _kind_of_title(title: str) -> str | None:
    return next((kind for kind, pattern in TITLES if pattern.fullmatch(title)), None)

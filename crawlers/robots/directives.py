"""What a page asks of robots: X-Robots-Tag headers and meta elements named robots, or after our own agent."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scrapy.http import Response

NOINDEX, NOFOLLOW = "noindex", "nofollow"
DIRECTIVES = (NOINDEX, NOFOLLOW)
_NONE = "none"
_WITH_VALUE = {"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"}
_HEAD = 65_536
"""Bytes of a page in which its head ends."""
_META = re.compile(rb"<meta\b[^>]*>")
_ATTRIBUTE = re.compile(rb"""\b(name|content)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>]+))""")


def token_of(user_agent: str) -> str:
    """The product token that headers and pages may name: of `Seine (+https://…)` it is seine."""
    token = re.match(r"[A-Za-z_-]+", user_agent)
    return token[0].lower() if token else ""


def directives_of(response: Response, token: str) -> frozenset[str]:
    """Those of DIRECTIVES that the page has for everybody, or for `token`."""
    found: set[str] = set()
    for header in response.headers.getlist("X-Robots-Tag"):
        found |= _of_header(header.decode("latin-1").lower(), token)
    found |= _of_head(response.body, token.encode())
    if _NONE in found:
        return frozenset(DIRECTIVES)
    return frozenset(found.intersection(DIRECTIVES))


def _of_header(value: str, token: str) -> set[str]:
    found, agent = set(), ""
    for part in value.split(","):
        name, colon, rest = (text.strip() for text in part.partition(":"))
        if colon and name not in _WITH_VALUE:
            agent, name = name, rest
        if agent in ("", token):
            found.add(name)
    return found


def _of_head(body: bytes, token: bytes) -> set[str]:
    end = body.find(b"</head", 0, _HEAD)
    head = body[: end if end >= 0 else _HEAD].lower()
    if b"robots" not in head and (not token or token not in head):
        return set()
    found: set[str] = set()
    for element in _META.findall(head):
        attributes = {name: a or b or c for name, a, b, c in _ATTRIBUTE.findall(element)}
        if attributes.get(b"name") in (b"robots", token):
            found |= {part.strip().decode("latin-1") for part in attributes.get(b"content", b"").split(b",")}
    return found

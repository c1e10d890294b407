"""What a page asks of robots: X-Robots-Tag headers, for all or for our agent, and meta elements named robots."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scrapy.http import Response

NOINDEX, NOFOLLOW = "noindex", "nofollow"
DIRECTIVES = (NOINDEX, NOFOLLOW)
_NONE = "none"
_WITH_VALUE = {"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"}
_HEAD = 32_768
"""Bytes of a page in which such an element stands."""
_ROBOTS = b"robots"
_META = re.compile(rb"<meta\b[^<>]*>")
_ATTRIBUTE = re.compile(rb"""\b(name|content)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>]+))""")


def our_token(settings: Any) -> str:
    """The product token of the agent that the settings name."""
    return token_of(settings["ROBOTSTXT_USER_AGENT"] or settings["USER_AGENT"])


def token_of(user_agent: str) -> str:
    """The product token that robots.txt and headers may name: of `Seine (+https://…)` it is seine."""
    token = re.match(r"[A-Za-z_-]+", user_agent)
    return token[0].lower() if token else ""


def directives_of(response: Response, token: str) -> frozenset[str]:
    """Those of DIRECTIVES that the page has for everybody, or for `token`."""
    found: set[str] = set()
    for header in response.headers.getlist("X-Robots-Tag"):
        found |= _of_header(header.decode("latin-1").lower(), token)
    found |= _of_head(response.body)
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


def _of_head(body: bytes) -> set[str]:
    head, found = body[:_HEAD].lower(), set[str]()
    for element in _about_robots(head.partition(b"</head")[0]) if _ROBOTS in head else ():
        attributes = {name: a or b or c for name, a, b, c in _ATTRIBUTE.findall(element)}
        if attributes.get(b"name") == b"robots":
            found |= {part.strip().decode("latin-1") for part in attributes.get(b"content", b"").split(b",")}
    return found


def _about_robots(head: bytes) -> Iterator[bytes]:
    """The meta elements that say so. Most pages have none, and few have many: each is looked up from its name."""
    begin = 0
    while (at := head.find(_ROBOTS, begin)) >= 0:
        start = head.rfind(b"<meta", begin, at)
        element = _META.match(head, start) if start >= 0 else None
        begin = at + len(_ROBOTS)
        if element is not None and element.end() > at:
            yield element[0]
            begin = element.end()

"""What a page asks of robots: X-Robots-Tag headers, for all or for our agent, and meta elements named robots."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scrapy.http import Response

NOINDEX, NOFOLLOW = "noindex", "nofollow"
DIRECTIVES = (NOINDEX, NOFOLLOW)
_NONE = "none"
_WITH_VALUE = {"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"}
_HEAD = 32_768
"""Bytes of a page in which such an element stands."""
_SPELLINGS = (b"obots", b"ROBOTS")
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
    if all(body.find(spelling, 0, _HEAD) < 0 for spelling in _SPELLINGS):
        return set()
    end = body.find(b"</head", 0, _HEAD)
    found: set[str] = set()
    for element in _META.findall(body[: end if end >= 0 else _HEAD].lower()):
        attributes = {name: a or b or c for name, a, b, c in _ATTRIBUTE.findall(element)}
        if attributes.get(b"name") == b"robots":
            found |= {part.strip().decode("latin-1") for part in attributes.get(b"content", b"").split(b",")}
    return found

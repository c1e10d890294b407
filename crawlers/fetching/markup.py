"""Markup that a parser would take minutes for: start tags with thousands of attributes.

libxml2 compares every attribute of a tag with all before it: 40,000 of them, 350 kB, take it 5 seconds, and what fits
into DOWNLOAD_MAXSIZE hours, in which nothing else of the worker moves.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scrapy.http import TextResponse

MOST_ATTRIBUTES = 8_000
"""Of a tag: a tenth of a second."""
_SMALL = 32_768
"""Bytes of a body that is not looked at: it has no room for many more."""
_WINDOW = 8_192
_PLAIN = ("utf-8", "ascii", "cp125", "windows-125", "iso-8859", "iso8859", "latin")
# As HTML's tokenizer has attributes. Where it sees one, this sees one too.
_ATTRIBUTE = rb"""[\s/]*+[^\s/>][^\s/>=]*+(?:\s*+=\s*+(?:"[^"]*+(?:"|\Z)|'[^']*+(?:'|\Z)|[^\s>"'][^\s>]*+)?+)?+"""
_ONE = re.compile(_ATTRIBUTE)
_TAG = re.compile(rb"<[A-Za-z][^\s/>]*+(?:%s)*+" % _ATTRIBUTE)


def as_parsed(response: TextResponse) -> bytes:
    """The body of `response` as the parser gets it: decoded and encoded anew, without NULs.

    In most encodings what is markup is so as bytes, too; in others (UTF-16, Python's own) text may come of anything.
    """
    body = response.body
    if len(body) > _SMALL and not response.encoding.lower().startswith(_PLAIN):
        body = response.text.encode("utf-8", "replace")
    return body.replace(b"\0", b"") if b"\0" in body else body


def has_giant_tag(body: bytes) -> bool:
    """Whether a start tag of `body` has thousands of attributes.

    Such a tag covers whole windows of the body, and of at least one its share: what looks like that is rare, and only
    then all tags are read, each once.
    """
    if len(body) <= _SMALL:
        return False
    least = max(4, MOST_ATTRIBUTES * _WINDOW // len(body) // 2)
    within = [re.compile(start + rb"(?:%s){%d}" % (_ATTRIBUTE, least)) for start in (rb"", rb'[^"]*+"', rb"[^']*+'")]
    for start in range(0, len(body) - _WINDOW, _WINDOW):
        if any(one.match(body, start, start + _WINDOW) for one in within):
            return any(_is_giant(tag[0]) for tag in _TAG.finditer(body))
    return False


def _is_giant(tag: bytes) -> bool:
    return len(tag) > _WINDOW and sum(1 for _ in _ONE.finditer(tag)) > MOST_ATTRIBUTES

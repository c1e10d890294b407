"""Markup that a parser would take minutes for: start tags with thousands of attributes.

libxml2 compares every attribute of a tag with all before it: 40,000 of them, 350 kB, take it 5 seconds, and what fits
into DOWNLOAD_MAXSIZE hours, in which nothing else of the worker moves.
"""

from __future__ import annotations

import re

MOST_ATTRIBUTES = 8_000
"""Of a tag: a tenth of a second."""
_SMALL = 32_768
"""Bytes of a body that is not looked at: it has no room for many more."""
_WINDOW = 8_192
# As HTML's tokenizer has attributes. Where it sees one, this sees one too.
_ATTRIBUTE = rb"""[\s/]*+[^\s/>][^\s/>=]*+(?:\s*+=\s*+(?:"[^"]*+(?:"|\Z)|'[^']*+(?:'|\Z)|[^\s>"'][^\s>]*+)?+)?+"""
_ONE = re.compile(_ATTRIBUTE)
_TAG = re.compile(rb"<[A-Za-z][^\s/>]*+(?:%s)*+" % _ATTRIBUTE)


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

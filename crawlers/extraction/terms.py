"""Vocabularies of plain words."""

from __future__ import annotations


def term_set(words: str) -> frozenset[str]:
    """The words of a text, for sets that are easier to read as one."""
    return frozenset(words.split())

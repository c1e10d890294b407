"""A reader of broken JSON, for script blocks that no strict parser accepts but every crawler has to live with."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

MAX_TEXT = 4_000_000
_MAX_DEPTH = 500
_NOISE = re.compile(r"[\s\ufeff\x00-\x1f;]+|//\s*<!\[CDATA\[|//\s*\]\]>|//\s*-->|<!\[CDATA\[|\]\]>|<!--|-->")
_BARE = re.compile(r"[^\s,:{}\[\]\"'/;]+")
_QUOTES = "\"'"
_AFTER_STRING = re.compile(r"\s*(?:[,:}\]\"/;]|\Z)")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_SURROGATES = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": " ", "f": " "}
_LITERALS = {"true": True, "false": False, "null": None, "undefined": None, "NaN": None}


def mend(text: str) -> list[Any]:
    """The values in `text`, one after the other: mostly one, several where objects were concatenated.

    Never raises and takes time linear in the text. Understood: HTML comments and CDATA around the JSON, JavaScript
    comments, trailing and missing commas, raw newlines and unescaped quotes inside strings, single quotes, bare keys,
    entities for quotes, closing brackets that are missing or too many. Numbers come back as their text, so that
    leading zeros survive. What nests deeper than 500 levels is left out.
    """
    text = text[:MAX_TEXT]
    if '"' not in text and "&" in text:
        text = unescape(text)
    return _Reader(text).read()


class _Reader:
    """Builds values bottom-up on an explicit stack: no recursion, whatever the nesting."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.place = 0
        self.values: list[Any] = []
        self.open: list[dict[str, Any] | list[Any]] = []
        self.keys: list[str | None] = []
        self.skipped = 0

    def read(self) -> list[Any]:
        length = len(self.text)
        while self.place < length:
            self._token(self.text[self.place])
        return self.values

    def _token(self, char: str) -> None:
        if char in "{[":
            self._push({} if char == "{" else [])
        elif char in "}]" and not self.text.startswith("]]>", self.place):
            self._close(dict if char == "}" else list)
        elif char in _QUOTES:
            self._scalar(self._string(char))
        elif char in ",:":
            self.place += 1
        elif not self._skip_noise():
            self._bare_word()

    def _push(self, container: dict[str, Any] | list[Any]) -> None:
        self.place += 1
        if self.skipped or len(self.open) >= _MAX_DEPTH:
            self.skipped += 1
            return
        self._scalar(container)
        self.open.append(container)
        self.keys.append(None)

    def _close(self, kind: type) -> None:
        self.place += 1
        if self.skipped:
            self.skipped -= 1
        elif any(type(container) is kind for container in self.open[-3:]):
            while type(self.open.pop()) is not kind:
                self.keys.pop()
            self.keys.pop()

    def _scalar(self, value: Any) -> None:
        if self.skipped:
            return
        if not self.open:
            self.values.append(value)
        elif isinstance(self.open[-1], list):
            self.open[-1].append(value)
        elif self.keys[-1] is None:
            self.keys[-1] = value if isinstance(value, str) else ""
        else:
            self.open[-1][self.keys[-1]] = value
            self.keys[-1] = None

    def _string(self, quote: str) -> str:
        """A quote ends the string where JSON can go on after it: any other belongs to the text (15" screen)."""
        start = end = self.place + 1
        while True:
            end = self.text.find(quote, end)
            if end < 0:
                end = len(self.text)
                break
            if not self._is_escaped(start, end) and _AFTER_STRING.match(self.text, end + 1):
                break
            end += 1
        self.place = end + 1
        return _unescape(self.text[start:end])

    def _is_escaped(self, start: int, end: int) -> bool:
        backslashes = 0
        while end - backslashes > start and self.text[end - backslashes - 1] == "\\":
            backslashes += 1
        return backslashes % 2 == 1

    def _skip_noise(self) -> bool:
        noise = _NOISE.match(self.text, self.place)
        if noise:
            self.place = noise.end()
        elif self.text.startswith("//", self.place):
            self._skip_past("\n", 2)
        elif self.text.startswith("/*", self.place):
            self._skip_comment()
        else:
            return False
        return True

    def _skip_comment(self) -> None:
        if self.text.startswith("<![CDATA[", self.place + 2):
            self._skip_past("*/", 0)
        else:
            self._skip_past("*/", 2)

    def _skip_past(self, mark: str, offset: int) -> None:
        found = self.text.find(mark, self.place + offset)
        self.place = len(self.text) if found < 0 else found + len(mark)

    def _bare_word(self) -> None:
        word = _BARE.match(self.text, self.place)
        self.place = word.end() if word else self.place + 1
        if word and (self.open or self.skipped):
            self._scalar(_LITERALS.get(word[0], word[0]))


def _unescape(raw: str) -> str:
    if "\\" not in raw:
        return raw
    text = _ESCAPE.sub(_character, raw)
    return _SURROGATES.sub(lambda pair: pair[0].encode("utf-16", "surrogatepass").decode("utf-16"), text)


def _character(escape: re.Match[str]) -> str:
    body = escape[1]
    return chr(int(body[1:], 16)) if len(body) == 5 else _ESCAPES.get(body, body)

"""What no line of log shows: passwords and keys, and what the crawl's rules mask."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from crawlers.remote_browsers import secrets_of
from crawlers.tracing.options import headers_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crawlers.masking.masker import Masker

_SHORTEST_PASSWORD = 6
"""A shorter one would be found in words that are none."""
_OURS = frozenset(("timestamp", "level", "logger", "crawl_id", "record_id", "worker", "outcome", "fate", "trace_id"))
"""Fields of events that Seine makes itself."""
_USER = re.compile(r"(?<=://)([^/?#@\s:]*):[^/?#@\s]*@")
_PLAIN = (int, float, bool, type(None))


class Hidden:
    """A structlog processor, just before the renderer: it sees every value of every line, tracebacks too."""

    def __init__(self) -> None:
        self.masker: Masker | None = None
        self._of_settings: set[str] = set()
        self._listed: set[str] = set()
        self._starts: dict[str, list[str]] = {}

    def hide(self, passwords: Iterable[str], masker: Masker | None) -> None:
        """Hide these, and what `masker` masks, from now on."""
        self.masker = masker
        self._of_settings = set(passwords)
        self._index()

    def hide_listed(self, passwords: Iterable[str]) -> None:
        """Hide these, too, in the place of those that were listed before."""
        self._listed = set(passwords)
        self._index()

    def _index(self) -> None:
        """However many there are, a text is looked through once."""
        starts: dict[str, list[str]] = {}
        for one in sorted(self._of_settings | self._listed, key=len, reverse=True):
            if len(one) >= _SHORTEST_PASSWORD:
                starts.setdefault(one[:_SHORTEST_PASSWORD], []).append(one)
        self._starts = starts

    def __call__(self, _logger: Any, _name: str, event: Any) -> Any:
        return {name: value if name in _OURS else self._shown(value) for name, value in event.items()}

    def _shown(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, _PLAIN):
            return value
        if isinstance(value, Mapping):
            return {str(self._shown(name)): self._shown(one) for name, one in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [self._shown(one) for one in value]
        return self.text(repr(value))

    def text(self, text: str) -> str:
        """`text` without what is hidden."""
        if self._starts:
            text = self._without_passwords(text)
        if "@" in text and "://" in text:
            text = _USER.sub(r"\1:***@", text)
        return text if self.masker is None else self.masker.text(text)

    def _without_passwords(self, text: str) -> str:
        parts, shown, at = [], 0, 0
        while at <= len(text) - _SHORTEST_PASSWORD:
            for one in self._starts.get(text[at : at + _SHORTEST_PASSWORD], ()):
                if text.startswith(one, at):
                    parts += [text[shown:at], "***"]
                    at = shown = at + len(one)
                    break
            else:
                at += 1
        return "".join(parts) + text[shown:]


def passwords(settings: Any) -> set[str]:
    """The secrets among the settings: passwords, the passwords in URLs, the keys of tokens."""
    found = {key.partition(":")[2].strip() for key in settings.getlist("MASKING_KEYS")}
    found.add(str(settings.getdict("REDIS_PARAMS").get("password") or ""))
    for name, (kind, _) in settings["SETTINGS_CONTRACT"].items():
        if name.endswith(("_PASSWORD", "_SECRET", "_TOKEN")):
            found.add(str(settings.get(name) or ""))
        for text in settings.getlist(name) if kind == "list" else [settings.get(name)]:
            if isinstance(text, str) and "://" in text and "@" in text:
                found |= _password_of(text)
    found |= secrets_of(settings.get("BROWSER_REMOTE_URL") or "")
    for value in headers_of(settings).values():  # Bearer and the token, and the token
        found |= {value, value.rpartition(" ")[2]}
    return found - {""}


def _password_of(url: str) -> set[str]:
    try:
        password = urlsplit(url).password or ""
    except ValueError:
        return set()
    return {password, unquote(password)}

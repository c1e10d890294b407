"""What no line of log shows: passwords and keys, and what the crawl's rules mask."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from crawlers.remote_browsers import secrets_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crawlers.masking.masker import Masker

_SHORTEST_PASSWORD = 6
"""A shorter one would be found in words that are none."""
_OURS = frozenset(("timestamp", "level", "logger", "crawl_id", "record_id", "worker", "outcome", "fate"))
"""Fields of events that Seine makes itself."""
_USER = re.compile(r"(?<=://)([^/?#@\s:]*):[^/?#@\s]*@")
_PLAIN = (int, float, bool, type(None))


class Hidden:
    """A structlog processor, just before the renderer: it sees every value of every line, tracebacks too."""

    def __init__(self) -> None:
        self.masker: Masker | None = None
        self._passwords: re.Pattern[str] | None = None

    def hide(self, passwords: Iterable[str], masker: Masker | None) -> None:
        """Hide these, and what `masker` masks, from now on."""
        found = sorted({one for one in passwords if len(one) >= _SHORTEST_PASSWORD}, key=len, reverse=True)
        self._passwords = re.compile("|".join(map(re.escape, found))) if found else None
        self.masker = masker

    def __call__(self, _logger: Any, _name: str, event: Any) -> Any:
        return {name: value if name in _OURS else self._shown(value) for name, value in event.items()}

    def _shown(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, _PLAIN):
            return value
        if isinstance(value, Mapping):
            return {str(self._shown(name)): self._shown(one) for name, one in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [self._shown(one) for one in value]
        return self._text(repr(value))

    def _text(self, text: str) -> str:
        if self._passwords is not None:
            text = self._passwords.sub("***", text)
        if "@" in text and "://" in text:
            text = _USER.sub(r"\1:***@", text)
        return text if self.masker is None else self.masker.text(text)


def passwords(settings: Any) -> set[str]:
    """The secrets among the settings: passwords, the passwords in URLs, the keys of tokens."""
    found = {key.partition(":")[2].strip() for key in settings.getlist("MASKING_KEYS")}
    found.add(str(settings.getdict("REDIS_PARAMS").get("password") or ""))
    for name, (kind, _) in settings["SETTINGS_CONTRACT"].items():
        if name.endswith(("_PASSWORD", "_SECRET")):
            found.add(str(settings.get(name) or ""))
        for text in settings.getlist(name) if kind == "list" else [settings.get(name)]:
            if isinstance(text, str) and "://" in text and "@" in text:
                found |= _password_of(text)
    found |= secrets_of(settings.get("BROWSER_REMOTE_URL") or "")
    return found - {""}


def _password_of(url: str) -> set[str]:
    try:
        password = urlsplit(url).password or ""
    except ValueError:
        return set()
    return {password, unquote(password)}

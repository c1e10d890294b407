"""The languages that a browser asks for in a country."""

from __future__ import annotations

_EVERYWHERE = ("en-US", "en")


def languages_of(locale: str | None) -> tuple[str, ...]:
    """As a browser that was installed there has them: de-AT is de-AT, de, en-US, en."""
    if not locale:
        return _EVERYWHERE
    language = locale.partition("-")[0]
    own = (locale,) if language == "en" else (locale, language)
    return tuple(dict.fromkeys((*own, *_EVERYWHERE)))

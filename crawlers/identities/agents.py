"""Browsers that people use, from fake-useragent's data: the newest versions on desktops, as often as they are met."""

from __future__ import annotations

import random
from functools import cache
from itertools import accumulate

from fake_useragent.utils import load

from crawlers.identities.profiles import BrowserProfile, profile_of

_VERSIONS = 3
"""Of each browser, the newest ones."""


def any_browser(choice: random.Random) -> BrowserProfile:
    """One of them."""
    profiles, shares = _known()
    return choice.choices(profiles, cum_weights=shares)[0]


def desktop_browsers() -> list[BrowserProfile]:
    """All of them."""
    return _known()[0]


@cache
def _known() -> tuple[list[BrowserProfile], list[float]]:
    shares: dict[BrowserProfile, float] = {}
    for entry in load():
        if entry["type"] == "desktop" and (profile := profile_of(entry["useragent"])) is not None:
            shares[profile] = shares.get(profile, 0.0) + entry["percent"]
    newest: dict[str, int] = {}
    for profile in shares:
        newest[profile.family] = max(newest.get(profile.family, 0), profile.major)
    kept = [profile for profile in shares if profile.major > newest[profile.family] - _VERSIONS]
    return kept, list(accumulate(shares[profile] for profile in kept))

"""What a browser says of itself, read from its User-Agent: hints that are derived from it cannot contradict it."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from itertools import permutations

CHROMIUM, CHROME, EDGE, FIREFOX, SAFARI = "chromium", "chrome", "edge", "firefox", "safari"
_BRANDS = {CHROMIUM: None, CHROME: "Google Chrome", EDGE: "Microsoft Edge"}
"""Of the families that send client hints: what they call themselves beside Chromium."""
_SYSTEM = r"Mozilla/5\.0 \((?P<system>[^)]+)"
_BLINK = _SYSTEM + r"\) AppleWebKit/537\.36 \(KHTML, like Gecko\) Chrome/(?P<major>\d+)\.0\.0\.0 Safari/537\.36"
_WEBKIT = _SYSTEM + r"\) AppleWebKit/605\.1\.15 \(KHTML, like Gecko\)"
_AGENTS = {
    CHROME: _BLINK,
    EDGE: _BLINK + r" Edg/(?P=major)\.0\.0\.0",
    FIREFOX: _SYSTEM + r"; rv:(?P<major>\d+)\.0\) Gecko/20100101 Firefox/(?P=major)\.0",
    SAFARI: _WEBKIT + r" Version/(?P<major>\d+)[.\d]* Safari/605\.1\.15",
}
_PATTERNS = {family: re.compile(pattern) for family, pattern in _AGENTS.items()}
_PLATFORMS = {"Windows NT 10.0": "Windows", "Macintosh": "macOS", "X11; CrOS": "Chrome OS", "X11;": "Linux"}
"""By how the system in a User-Agent begins."""
_GREASE = " (:-./);=?_"
_GREASE_VERSIONS = ("8", "99", "24")


@dataclass(frozen=True, slots=True)
class BrowserProfile:
    """A desktop browser."""

    family: str
    major: int
    platform: str
    """As Sec-CH-UA-Platform names it."""
    user_agent: str

    @property
    def name(self) -> str:
        """For labels, as firefox-137."""
        return f"{self.family}-{self.major}"

    @property
    def sends_hints(self) -> bool:
        return self.family in _BRANDS

    @property
    def brands(self) -> str:
        """Sec-CH-UA: names in the order, and with the odd one between them, that Chromium makes of its version."""
        own = _BRANDS[self.family]
        names = [self._grease(), ("Chromium", str(self.major))] + ([(own, str(self.major))] if own else [])
        orders = sorted(permutations(range(len(names))))
        order = orders[self.major % len(orders)]
        placed = dict(zip(order, names, strict=True))
        return ", ".join(f'"{placed[place][0]}";v="{placed[place][1]}"' for place in sorted(placed))

    def _grease(self) -> tuple[str, str]:
        first, second = (_GREASE[(self.major + step) % len(_GREASE)] for step in (0, 1))
        return f"Not{first}A{second}Brand", _GREASE_VERSIONS[self.major % len(_GREASE_VERSIONS)]


def profile_of(user_agent: str) -> BrowserProfile | None:
    """The desktop browser that `user_agent` is of; None where it is nobody's that we can pass for."""
    for family, pattern in _PATTERNS.items():
        if found := pattern.fullmatch(user_agent):
            system = found["system"]
            for start, platform in _PLATFORMS.items():
                if system.startswith(start):
                    return BrowserProfile(family, int(found["major"]), platform, user_agent)
    return None


def engines_profile(user_agent: str, brands: Collection[str]) -> BrowserProfile | None:
    """The desktop browser that has that name and those brands in its hints: by name, Chromium and Chrome are one."""
    found = profile_of(user_agent)
    if found is not None and found.family == CHROME and _BRANDS[CHROME] not in brands:
        return replace(found, family=CHROMIUM)
    return found

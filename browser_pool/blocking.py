"""Which addresses a browser does not fetch, as patterns of CDP's Network.setBlockedURLs."""

from __future__ import annotations

from functools import cache

_EXTENSIONS = {
    "images": ("png", "jpg", "jpeg", "gif", "webp", "avif", "ico", "bmp", "svg"),
    "fonts": ("woff", "woff2", "ttf", "otf", "eot"),
    "media": ("mp4", "webm", "ogg", "mp3", "m4a", "mov", "m3u8"),
}
_TRACKERS = (
    "*://*.google-analytics.com/*",
    "*://*.googletagmanager.com/*",
    "*://*.doubleclick.net/*",
    "*://*.googlesyndication.com/*",
    "*://connect.facebook.net/*",
    "*://*.hotjar.com/*",
    "*://*.clarity.ms/*",
    "*://bat.bing.com/*",
    "*://*.criteo.com/*",
    "*://*.criteo.net/*",
    "*://analytics.tiktok.com/*",
    "*://*.segment.io/*",
    "*://*.newrelic.com/*",
    "*://*.nr-data.net/*",
)


@cache
def blocked_urls(kinds: tuple[str, ...]) -> list[str]:
    """The patterns of those kinds. An image whose address does not end as one is not known as one."""
    patterns: list[str] = []
    for kind in kinds:
        if kind == "trackers":
            patterns += _TRACKERS
        for extension in _EXTENSIONS.get(kind, ()):
            patterns += [f"*.{extension}", f"*.{extension}?*"]
    return patterns

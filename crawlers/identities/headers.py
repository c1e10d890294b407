"""The headers of a browser's navigation, in the order in which it sends them."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import tldextract
from scrapy.downloadermiddlewares.httpcompression import ACCEPTED_ENCODINGS

from crawlers.identities.profiles import FIREFOX, SAFARI

if TYPE_CHECKING:
    from collections.abc import Collection

    from scrapy.http import Headers

    from crawlers.identities.profiles import BrowserProfile

_PAGE = "text/html,application/xhtml+xml,application/xml;q=0.9,"
_PICTURES = "image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7"
_JXL_SINCE = 156
"""Chromium's version that was seen to ask for image/jxl; those of fake-useragent's data do not."""
_ACCEPT = f"{_PAGE}*/*;q=0.8"
_BROUGHT = (b"Referer", b"Cookie")
"""Of these, the request has its own or none."""
_OF_THE_REQUEST = ("Host", "Sec-Fetch-Site", "Referer", "Cookie")
"""They stand where the browser has them, and are the request's."""
_CHROMIUM_ORDER = (
    "Host", "Connection", "Sec-Ch-Ua", "Sec-Ch-Ua-Mobile", "Sec-Ch-Ua-Platform", "Upgrade-Insecure-Requests",
    "User-Agent", "Accept", "Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-User", "Sec-Fetch-Dest", "Referer",
    "Accept-Encoding", "Accept-Language", "Cookie",
)  # fmt: skip
_FIREFOX_ORDER = (
    "Host", "User-Agent", "Accept", "Accept-Language", "Accept-Encoding", "Referer", "Connection", "Cookie",
    "Upgrade-Insecure-Requests", "Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site", "Sec-Fetch-User", "Priority",
)  # fmt: skip
_SAFARI_ORDER = (
    "Host", "Cookie", "Sec-Fetch-Dest", "User-Agent", "Accept", "Referer", "Sec-Fetch-Site", "Sec-Fetch-Mode",
    "Accept-Language", "Priority", "Accept-Encoding", "Connection",
)  # fmt: skip
_FETCH = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-User": "?1", "Sec-Fetch-Dest": "document"}
_CONSTANT = {"Connection": "keep-alive", "Upgrade-Insecure-Requests": "1"}
_TOLD_ONLY_SAFELY = frozenset(("Sec-Ch-Ua", "Sec-Ch-Ua-Mobile", "Sec-Ch-Ua-Platform", "Sec-Fetch-Site", *_FETCH))
_IDENTITYS_OWN = ("Host", "Connection", "User-Agent", "Sec-Ch-Ua", "Sec-Ch-Ua-Mobile", "Sec-Ch-Ua-Platform")
"""No caller's value goes before the identity's."""

ALL = frozenset(name.encode() for name in (*_CHROMIUM_ORDER, *_FIREFOX_ORDER, *_SAFARI_ORDER)).difference(_BROUGHT)
"""Names that an identity may give a request."""
OVERRIDABLE = ALL - {name.encode() for name in (*_IDENTITYS_OWN, "Accept-Language")}
"""Those of them that a request may bring itself, as a script's request does."""

Template = tuple[tuple[bytes, bytes | None], ...]
"""Names and values in order; None is the request's."""

_registered = tldextract.TLDExtract(suffix_list_urls=())


def template_of(profile: BrowserProfile, languages: tuple[str, ...], *, is_safe: bool) -> Template:
    """What `profile` sends to a page's address, which is one that others cannot read along or is not."""
    order = {FIREFOX: _FIREFOX_ORDER, SAFARI: _SAFARI_ORDER}.get(profile.family, _CHROMIUM_ORDER)
    values: dict[str, str | None] = {
        **_CONSTANT,
        **_FETCH,
        **dict.fromkeys(_OF_THE_REQUEST),
        "User-Agent": profile.user_agent,
        "Accept": _accept(profile),
        "Accept-Encoding": _encodings(profile.family, is_safe),
        "Accept-Language": _weighted(profile.family, languages),
        "Priority": "u=0, i",
    }
    if profile.sends_hints:
        values |= {
            "Sec-Ch-Ua": profile.brands,
            "Sec-Ch-Ua-Mobile": "?0",
            "Sec-Ch-Ua-Platform": f'"{profile.platform}"',
        }
    names = (name for name in order if is_safe or name not in _TOLD_ONLY_SAFELY)
    return tuple((name.encode(), value.encode() if (value := values[name]) is not None else None) for name in names)


def dress(headers: Headers, template: Template, url: str, own: Collection[bytes]) -> None:
    """Give a request to `url` the template's headers, before all others; of those in `own` it keeps its own."""
    found: Any = dict(dict.items(headers))
    dressed: dict[bytes, list[bytes]] = {}
    for name, value in template:
        if name in own or (name in _BROUGHT and name in found):
            dressed[name] = found[name]
        elif value is not None:
            dressed[name] = [value]
        elif name == b"Host":
            dressed[name] = [_host(*urlsplit(url)[:2])]
        elif name == b"Sec-Fetch-Site":
            referer = found.get(b"Referer")
            dressed[name] = [_relation(referer[0].decode("latin-1"), url) if referer else b"none"]
    for name, values in found.items():
        if name not in dressed and (name not in ALL or name in own):
            dressed[name] = values
    headers.clear()
    dict.update(headers, dressed)  # the names are as Headers has them, and its own update takes ten times as long


def arrange(headers: Headers, order: Collection[bytes]) -> None:
    """Put what has been added since where the browser has it: cookies, above all."""
    found: Any = dict(dict.items(headers))
    arranged = {name: found.pop(name) for name in order if name in found}
    headers.clear()
    dict.update(headers, arranged | found)


def undress(headers: Headers, own: Collection[bytes]) -> None:
    """Take from a request what an identity has given it."""
    for name in ALL:
        if name in headers and name not in own:
            del headers[name]


@lru_cache(16_384)
def is_safe(origin: str) -> bool:
    """Whether a browser tells that origin what it tells only where nobody can read along."""
    parts = urlsplit(origin)
    return parts.scheme == "https" or _is_loopback(parts.hostname or "")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


@lru_cache(16_384)
def _host(scheme: str, netloc: str) -> bytes:
    """A URL's host and, where it is not the scheme's, its port."""
    return netloc.rpartition("@")[2].removesuffix(":443" if scheme == "https" else ":80").encode()


def _relation(referer: str, url: str) -> bytes:
    """Sec-Fetch-Site of a link from `referer`."""
    theirs, ours = urlsplit(referer), urlsplit(url)
    if (theirs.scheme, theirs.netloc) == (ours.scheme, ours.netloc):
        return b"same-origin"
    if theirs.scheme == ours.scheme and _site(theirs.hostname or "") == _site(ours.hostname or ""):
        return b"same-site"
    return b"cross-site"


@lru_cache(4096)
def _site(host: str) -> str:
    return _registered(host).top_domain_under_public_suffix or host


def _accept(profile: BrowserProfile) -> str:
    if not profile.sends_hints:
        return _ACCEPT
    return f"{_PAGE}{'image/jxl,' if profile.major >= _JXL_SINCE else ''}{_PICTURES}"


def _encodings(family: str, is_safe: bool) -> str:
    """What of the browser's can be read here; without TLS it asks for less."""
    names = ["gzip", "deflate", *((["br"] if family == SAFARI else ["br", "zstd"]) if is_safe else [])]
    return ", ".join(name for name in names if name.encode() in ACCEPTED_ENCODINGS)


def _weighted(family: str, languages: tuple[str, ...]) -> str:
    """Accept-Language with the weights that the family gives."""
    parts = list(languages[:1])
    for number, language in enumerate(languages[1:], 1):
        weight = 1 - number / len(languages) if family == FIREFOX else max(0.1, 1 - number / 10)
        parts.append(f"{language};q={int(10 * weight + 0.5) / 10}")
    return ",".join(parts)

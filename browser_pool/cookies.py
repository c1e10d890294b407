"""Cookies between Scrapy's jar and a browser: as the jar has them on the way out, as servers set them on the way in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from email.utils import formatdate
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from scrapy import Request
from scrapy.http import Response
from scrapy.http.cookies import WrappedRequest, potential_domain_matches

from browser_pool.backend import Cookie

if TYPE_CHECKING:
    from scrapy.http.cookies import CookieJar

_LOCAL = ".local"
"""What Python's jars add to names without a dot."""


def cookies_of(request: Request, jar: CookieJar | None) -> tuple[Cookie, ...]:
    """What the request's `Cookie` header has, with the domain, path and age that `jar` knows."""
    header = (request.headers.get("Cookie") or b"").decode("utf-8", "replace")
    split = (part.strip().partition("=") for part in header.split(";"))
    pairs = dict.fromkeys((name, value) for name, is_pair, value in split if is_pair and name)
    known = [cookie for cookie in _sent_to(request, jar) if cookie[:2] in pairs] if pairs and jar is not None else []
    for cookie in known:
        pairs.pop(cookie[:2], None)
    parts = urlsplit(request.url)
    others = (Cookie(*pair, _host(request.url), is_secure=parts.scheme == "https") for pair in pairs)
    return (*known, *others)


def cdp_cookie(cookie: Cookie, url: str) -> dict[str, Any]:
    """Parameters of Network.setCookie, for a page at `url`."""
    parts = urlsplit(url)
    return {
        "name": cookie.name,
        "value": cookie.value,
        "url": f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/",
        "path": cookie.path,
        "secure": cookie.is_secure,
        "httpOnly": cookie.is_http_only,
        **({"domain": cookie.domain} if cookie.domain.startswith(".") else {}),
        **({"expires": cookie.expires} if cookie.expires > 0 else {}),
    }


def set_cookies(url: str, cookies: Sequence[Cookie], sent: Sequence[Cookie] = ()) -> list[str]:
    """`Set-Cookie` headers of an answer from `url`, that leave a jar with what the browser has for it.

    `sent` is what the jar had. Cookies of other hosts are left out.
    """
    kept = {_key(cookie) for cookie in cookies}
    gone = [
        f"{_header(cookie._replace(value='', expires=-1))}; Max-Age=0" for cookie in sent if _key(cookie) not in kept
    ]
    return [_header(cookie) for cookie in cookies if _is_of(_host(url), cookie)] + gone


def keep(jar: CookieJar, url: str, cookies: Sequence[Cookie]) -> None:
    """Put into `jar` what the browser has for `url`, to which a request was led."""
    answer = Response(url, headers={"Set-Cookie": set_cookies(url, cookies)})
    jar.extract_cookies(answer, Request(url))


def is_elsewhere(request: Request, url: str) -> bool:
    """Whether `url` is another host's than that which was asked."""
    return _host(request.url) != _host(url)


def _sent_to(request: Request, jar: CookieJar) -> Iterator[Cookie]:
    """Those that the jar's own rules let the request have."""
    wrapped: Any = WrappedRequest(request)
    host = _host(request.url)
    for domain in potential_domain_matches(host) + ([] if "." in host else [host + _LOCAL]):
        for path, named in jar._cookies.get(domain, {}).items():
            for cookie in named.values() if jar.policy.path_return_ok(path, wrapped) else ():
                if cookie.value is not None and jar.policy.return_ok(cookie, wrapped):
                    yield Cookie(
                        cookie.name,
                        cookie.value,
                        domain if domain.startswith(".") else host,
                        path,
                        cookie.expires or -1,
                        cookie.secure,
                        cookie.has_nonstandard_attr("HttpOnly"),
                    )


def _host(url: str) -> str:
    """As the domain of a cookie names it."""
    host = urlsplit(url).hostname or ""
    return f"[{host}]" if ":" in host else host


def _key(cookie: Cookie) -> tuple[str, str, str]:
    return cookie.name, cookie.domain, cookie.path


def _is_of(host: str, cookie: Cookie) -> bool:
    return cookie.domain == host or (cookie.domain.startswith(".") and f".{host}".endswith(cookie.domain))


def _header(cookie: Cookie) -> str:
    parts = [f"{cookie.name}={cookie.value}", f"Path={cookie.path}"]
    if cookie.domain.startswith("."):
        parts.append(f"Domain={cookie.domain}")
    if cookie.expires > 0:
        parts.append(f"Expires={formatdate(cookie.expires, usegmt=True)}")
    if cookie.is_secure:
        parts.append("Secure")
    if cookie.is_http_only:
        parts.append("HttpOnly")
    return "; ".join(parts)
